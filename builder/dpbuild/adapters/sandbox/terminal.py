"""dpbuild's own terminal, while a program in an engine has one of the engine's."""

import contextlib
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator


def in_terminal() -> bool:
    """Whether somebody types and reads: stdin and stdout both are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextlib.contextmanager
def raw_terminal(resize: Callable[[int, int], object]) -> Iterator[None]:
    """While the block runs, what is typed goes to the program as it is, Ctrl-C included.

    ``resize`` gets rows and columns, now and whenever they change.
    """
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def changed(*_: object) -> None:
        columns, rows = shutil.get_terminal_size()
        resize(rows, columns)

    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGWINCH, changed) if main else None
    try:
        tty.setraw(descriptor)
        changed()
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        if main:
            signal.signal(signal.SIGWINCH, handler)
