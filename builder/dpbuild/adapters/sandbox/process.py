"""Starting a program on the host, and never leaving it behind."""

import contextlib
import errno
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from dpbuild.adapters.sandbox.output import Kept, Late, communicate
from dpbuild.errors import SandboxError
from dpbuild.ports.sandbox import Outcome, TimedOut

FOREIGN = (
    "the image is for another machine than this one: install qemu-user-static and binfmt-support, "
    "or set bytecode = false"
)
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def status_of(code: int) -> int:
    """The exit status that a shell would show for ``Popen.returncode``."""
    return 128 - code if code < 0 else code


def captured(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    cwd: str,
    stdin: bytes,
    timeout: float | None,
    name: str,
    most: int | None = None,
) -> Outcome:
    """Run to the end in a session of its own, with the output returned, as far as ``Job.most`` goes.

    Whatever ends the wait (``timeout`` seconds, an interrupt) kills the whole session's process group first.
    Raises SandboxError when the program cannot be started or takes too long; ``name`` says in whose words.
    """
    with _held() as release:
        try:
            process = subprocess.Popen(
                argv,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as problem:
            raise cannot_start(problem, argv, name) from None
        return _captured(process, release, stdin, timeout, name, most)


def _captured(
    process: subprocess.Popen[bytes],
    release: Callable[[], None],
    stdin: bytes,
    timeout: float | None,
    name: str,
    most: int | None,
) -> Outcome:
    out, err = Kept(most), Kept(most)
    with process:
        try:
            # From here on an interrupt ends the program, too.
            release()
            communicate(process, stdin, timeout, out, err)
        except Late:
            _kill_group(process)
            raise TimedOut.after(timeout or 0.0, name, out.value, err.value) from None
        except BaseException:
            _kill_group(process)
            raise
        # What the program left running in the background goes with it.
        _kill_group(process)
    return Outcome(status=status_of(process.returncode), stdout=out.value, stderr=err.value)


@contextlib.contextmanager
def _held() -> Iterator[Callable[[], None]]:
    """Interrupts wait until the program that is being started is known; gives what lets them in."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    noted: list[int] = []
    before: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(signal.getsignal(number)):
            before[number] = signal.signal(number, lambda number, _: noted.append(number))

    def release() -> None:
        while before:
            number, handler = before.popitem()
            signal.signal(number, handler)
        while noted:
            signal.raise_signal(noted.pop())

    try:
        yield release
    finally:
        release()


def cannot_start(problem: OSError, argv: Sequence[str], name: str) -> SandboxError:
    """The error for a program that the kernel does not start."""
    return SandboxError(
        f"{name} cannot start {argv[0]}: {problem.strerror or problem}",
        hint=FOREIGN if problem.errno == errno.ENOEXEC else None,
    )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # Pipes that a survivor might hold are not waited for.
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


@contextlib.contextmanager
def signals_to(send: Callable[[int], object], *, terminal: bool) -> Iterator[None]:
    """While the block runs, signals that dpbuild gets go to ``send`` instead of ending dpbuild.

    With ``terminal`` the program is in the terminal's foreground group with dpbuild, which has then already
    been sent SIGINT and SIGQUIT by the terminal itself; they are swallowed here. Outside of the main thread
    nothing can be forwarded.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def forward(number: int, _frame: FrameType | None) -> None:
        if terminal and number in (signal.SIGINT, signal.SIGQUIT):
            return
        with contextlib.suppress(ProcessLookupError):
            send(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def attached(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    cwd: str,
    timeout: float | None,
    name: str,
    pass_fds: Sequence[int] = (),
    started: Callable[[], int | None] = lambda: None,
) -> Outcome:
    """Run to the end with dpbuild's own stdin, stdout and stderr, passing signals on.

    ``started`` is called once the program runs and may name another process that gets the signals and, if
    the first one dies of a signal, has the exit status (dpbuild is its subreaper then).
    """
    try:
        process = subprocess.Popen(argv, env=dict(env), cwd=cwd, pass_fds=pass_fds)
    except OSError as problem:
        raise cannot_start(problem, argv, name) from None
    inner: int | None = None

    def send(number: int) -> None:
        os.kill(inner or process.pid, number)

    try:
        with signals_to(send, terminal=_in_terminal()):
            inner = started()
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired as late:
                raise TimedOut.after(late.timeout, name) from None
            if code < 0 and inner is not None:
                with contextlib.suppress(ChildProcessError):
                    code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
    except BaseException:
        for pid in (inner, process.pid):
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()
        raise
    return Outcome(status=status_of(code))


def _in_terminal() -> bool:
    """Whether a terminal's Ctrl-C reaches dpbuild's process group, and so the program by itself."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def read_line(descriptor: int, seconds: float) -> bytes:
    """What comes out of a pipe up to the end of it, or of the time."""
    data = b""
    while select.select([descriptor], [], [], seconds)[0]:
        chunk = os.read(descriptor, 4096)
        if not chunk:
            break
        data += chunk
        if data.rstrip().endswith(b"}"):
            break
    return data
