"""Helpers: processes of the same Python that are told by pickles what to do, and end with the process that asks.

The two speak over the child's standard input and output: each message is a pickle, and large pieces of memory beside
it, behind the lengths of all. Nobody else can write to these pipes. What a stream sends lies in memory that both share
instead, if there is room: a message then only says where, and is answered with a byte when its memory may be used
again. With what is asked and answered each tells the other which blobs of the store it has verified: none is hashed
by both.
"""

import contextlib
import ctypes
import gc
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, TypeVar, cast

from dpbuild.adapters import shared
from dpbuild.adapters.store import DiskStore
from dpbuild.oci.digest import Digest
from dpbuild.ports.helper import HelperLost, Progress
from dpbuild.ports.store import Store

T = TypeVar("T")

# The first that leaves large pieces of memory where they are.
_PROTOCOL: Final = 5
# Bytes between two reports of progress.
_STEP: Final = 1 << 20
# prctl(2): the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG: Final = 1
_SECONDS: Final = 5.0
# What is asked: one answer, or all that is sent on the way to it.
_RUN: Final = "run"
_STREAM: Final = "stream"
# What says that a message of a stream was read.
_READ: Final = b"r"
# What precedes each message: how many pieces there are with the pickle, and 1 more than the slot that holds the others.
_HEAD: Final = struct.Struct(">QQ")


class ProcessHelper:
    """Implements ``ports.helper.Helper`` for a store in a folder. Raises OSError where no process can be started."""

    def __init__(self, store: DiskStore) -> None:
        self._store = store
        # The code that runs here, whatever else is installed; and nothing that lies in the working directory.
        place = str(Path(__file__).resolve().parents[2])
        code = (
            f"import gc, sys; gc.set_threshold(*{gc.get_threshold()}); sys.path.insert(0, {place!r}); "
            "from dpbuild.adapters.helper import main; main()"
        )
        with shared.descriptor() as memory:
            self._slots = shared.Slots(memory)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, str(store.path), str(memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(memory,),
            )
        self._asked = cast("BinaryIO", self._process.stdin)
        self._answers = cast("BinaryIO", self._process.stdout)

    @property
    def busy(self) -> bool:
        """Never: nobody else has it."""
        return False

    def run(self, work: Callable[[Store, Any, Progress], T], argument: Any, progress: Progress) -> T:
        """Ask, and wait for the answer."""
        try:
            self._ask(_RUN, work, argument)
            while True:
                kind, value = _receive(self._answers, self._slots)
                if kind == "progress":
                    progress(value)
                elif kind == "failed":
                    raise value
                else:
                    result: T = self._done(value)
                    return result
        except (EOFError, OSError, ValueError) as problem:
            raise HelperLost(str(problem)) from None

    def stream(
        self, work: Callable[[Store, Any, Callable[[T], int]], object], argument: Any
    ) -> Generator[T, None, None]:
        """Ask, and hand on what is sent."""
        try:
            self._ask(_STREAM, work, argument)
            while True:
                kind, value = _receive(self._answers, self._slots)
                if kind == "sent":
                    yield value
                    self._asked.write(_READ)
                    self._asked.flush()
                elif kind == "failed":
                    raise value
                else:
                    self._done(value)
                    return
        except (EOFError, OSError, ValueError) as problem:
            raise HelperLost(str(problem)) from None
        except GeneratorExit:
            self.stop()
            raise

    def _ask(self, way: str, work: Callable[..., object], argument: Any) -> None:
        _send(self._asked, (way, work, argument, _verified(self._store)))

    def _done(self, answer: tuple[Any, list[str]]) -> Any:
        result, verified = answer
        self._store.trust(map(Digest, verified))
        return result

    def stop(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        self.close()

    def dismiss(self) -> None:
        """It ends when it finds that nobody can ask any more."""
        with contextlib.suppress(OSError, ValueError):
            self._asked.close()

    def close(self) -> None:
        """Let it end."""
        for pipe in (self._asked, self._answers):
            with contextlib.suppress(OSError, ValueError):
                pipe.close()
        if not _ends(self._process):
            self._process.kill()
        self._process.wait()


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ends in time. Popen looks for that now and then, with pauses as long as what is waited for."""
    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True
    try:
        return bool(select.select([handle], (), (), _SECONDS)[0])
    finally:
        os.close(handle)


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
        _send(self._answers, ("sent", value), self._slots, self._sent % shared.SLOTS)
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


def _send(file: BinaryIO, message: object, slots: shared.Slots | None = None, slot: int = 0) -> None:
    beside: list[memoryview] = []
    data = pickle.dumps(message, _PROTOCOL, buffer_callback=lambda each: beside.append(each.raw()))
    put = bool(beside) and slots is not None and slots.put(slot, beside)
    lengths = [len(data), *map(len, beside)]
    file.write(_HEAD.pack(len(lengths), slot + 1 if put else 0))
    file.write(struct.pack(f">{len(lengths)}Q", *lengths))
    file.write(data)
    for part in () if put else beside:
        file.write(part)
    file.flush()


def _receive(file: BinaryIO, slots: shared.Slots) -> Any:
    """The next message. Raises EOFError when the other side has ended."""
    count, slot = _HEAD.unpack(_exactly(file, _HEAD.size))
    length, *lengths = struct.unpack(f">{count}Q", _exactly(file, 8 * count))
    data = _exactly(file, length)
    beside = slots.get(slot - 1, lengths) if slot else [_exactly(file, each) for each in lengths]
    # Written by our own code at the other end of a pipe that nobody else has.
    return pickle.loads(data, buffers=beside)  # noqa: S301


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError("the other process has ended")
    return data


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
                way, work, argument, verified = _receive(asked, slots)
                store.trust(map(Digest, verified))
                stream = _Stream(asked, answers, slots) if way == _STREAM else None
                answer = _answer(work, store, argument, answers, stream)
                if stream is not None:
                    stream.end()
            except EOFError:
                return
            _send(answers, answer)
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
            _send(answers, ("progress", waiting))
            waiting = 0

    try:
        result = work(store, argument, progress if stream is None else stream.send)
    except Exception as problem:  # noqa: BLE001 - whatever it is, it is raised where it was asked
        return "failed", _portable(problem)
    if waiting:
        _send(answers, ("progress", waiting))
    return "done", (result, _verified(store))


def _verified(store: DiskStore) -> list[str]:
    """As plain text, which pickles quickly."""
    return [digest.hex for digest in store.verified()]


def _portable(problem: Exception) -> Exception:
    """The same, if it can be pickled."""
    try:
        pickle.loads(pickle.dumps(problem))  # noqa: S301 - made here
    except Exception:  # noqa: BLE001 - what cannot be sent is told
        return RuntimeError(f"{type(problem).__name__}: {problem}")
    return problem
