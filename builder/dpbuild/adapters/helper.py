"""Helpers: processes of the same Python that are told by pickles what to do, and end with the process that asks."""

import contextlib
import gc
import os
import select
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar, cast

from dpbuild.adapters import messages, shared
from dpbuild.adapters.store import DiskStore
from dpbuild.oci.digest import Digest
from dpbuild.ports.helper import HelperLost, Progress
from dpbuild.ports.store import Store

T = TypeVar("T")

_SECONDS: Final = 5.0


class ProcessHelper:
    """Implements ``ports.helper.Helper`` for a store in a folder. Raises OSError where no process can be started."""

    def __init__(self, store: DiskStore) -> None:
        self._store = store
        # The code that runs here, whatever else is installed; and nothing that lies in the working directory.
        place = str(Path(__file__).resolve().parents[2])
        code = (
            f"import gc, sys; gc.set_threshold(*{gc.get_threshold()}); sys.path.insert(0, {place!r}); "
            "from dpbuild.adapters.helping import main; main()"
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
            self._ask(messages.RUN, work, argument)
            while True:
                kind, value = messages.receive(self._answers, self._slots)
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
            self._ask(messages.STREAM, work, argument)
            while True:
                kind, value = messages.receive(self._answers, self._slots)
                if kind == "sent":
                    yield value
                    self._asked.write(messages.READ)
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
        messages.send(self._asked, (way, work, argument, messages.verified(self._store)))

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
