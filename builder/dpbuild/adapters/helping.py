"""The other process: does what it is asked until nobody asks any more (``helper``).

It is a module of its own, so that what is started need not import what starts processes.
"""

import contextlib
import ctypes
import os
import pickle
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from dpbuild.adapters import messages, shared
from dpbuild.adapters.store import DiskStore
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import Store

# Bytes between two reports of progress.
_STEP: Final = 1 << 20
# prctl(2): the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG: Final = 1


class _Stream:
    """What a stream sends, no more messages ahead of whoever reads them than there are slots: one for each, in turn."""

    def __init__(self, asked: BinaryIO, answers: BinaryIO, slots: shared.Slots) -> None:
        self._asked = asked
        self._answers = answers
        self._slots = slots
        self._sent = 0
        self._read = 0

    def send(self, value: object) -> int:
        """How many are not read by now. Raises EOFError when nobody reads any more."""
        if self._sent - self._read == shared.SLOTS:
            self._wait()
        messages.send(self._answers, ("sent", value), self._slots, self._sent % shared.SLOTS)
        self._sent += 1
        while self._read < self._sent and select.select([self._asked], (), (), 0)[0]:
            self._wait()
        return self._sent - self._read

    def end(self) -> None:
        """Wait until all is read."""
        while self._read < self._sent:
            self._wait()

    def _wait(self) -> None:
        # Of what comes nothing may stay behind in the file's buffer, where select does not see it.
        read = self._asked.read1(shared.SLOTS)  # type: ignore[attr-defined]
        if not read:
            raise EOFError("nobody reads any more")
        self._read += len(read)


def main() -> NoReturn:
    """The other process."""
    _serve()
    sys.stderr.flush()
    # Somebody waits, and all that is left is taking apart what the system frees anyway.
    os._exit(0)


def _serve() -> None:
    """Do what is asked until nobody asks any more."""
    # Ctrl-C reaches it as well as its parent, which decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    asked = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever prints must not get in between.
    os.dup2(2, 1)
    store = DiskStore(Path(sys.argv[1]))
    slots = shared.Slots(int(sys.argv[2]))
    os.close(int(sys.argv[2]))
    try:
        while True:
            try:
                way, work, argument, verified = messages.receive(asked, slots)
                store.trust(map(Digest, verified))
                stream = _Stream(asked, answers, slots) if way == messages.STREAM else None
                answer = _answer(work, store, argument, answers, stream)
                if stream is not None:
                    stream.end()
            except EOFError:
                return
            messages.send(answers, answer)
    except BrokenPipeError:
        return
    finally:
        store.close()


def _answer(
    work: Callable[[Store, Any, Any], Any],
    store: DiskStore,
    argument: Any,
    answers: BinaryIO,
    stream: _Stream | None,
) -> tuple[str, Any]:
    waiting = 0

    def progress(amount: int) -> None:
        nonlocal waiting
        waiting += amount
        if waiting >= _STEP:
            messages.send(answers, ("progress", waiting))
            waiting = 0

    try:
        result = work(store, argument, progress if stream is None else stream.send)
    except Exception as problem:  # noqa: BLE001 - whatever it is, it is raised where it was asked
        return "failed", _portable(problem)
    if waiting:
        messages.send(answers, ("progress", waiting))
    return "done", (result, messages.verified(store))


def _portable(problem: Exception) -> Exception:
    """The same, if it can be pickled."""
    try:
        pickle.loads(pickle.dumps(problem))  # noqa: S301 - made here
    except Exception:  # noqa: BLE001 - what cannot be sent is told
        return RuntimeError(f"{type(problem).__name__}: {problem}")
    return problem
