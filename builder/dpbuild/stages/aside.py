"""What another process does while this one goes on: asked for early, waited for where it is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dpbuild.ports.helper import Helper, Progress

if TYPE_CHECKING:
    from collections.abc import Generator

    from dpbuild.ports.store import Store

T = TypeVar("T")

# Bytes of a base's layers, compressed, from which on starting a process to scan them pays.
WORTH_IT: Final = 8 << 20
# Bytes of wheels from which on it pays to list them while they are proved, once one of their layers is another.
WORTH_LISTING: Final = 32 << 20


class Aside:
    """The helpers of one build: each is started when it is first needed, and ended with the build.

    ``start`` starts one; ``cores`` are the processors that there are, one of which this process uses itself.
    """

    def __init__(self, start: Callable[[], Helper], cores: int) -> None:
        self._start = start
        self._most = cores - 1
        self._helpers: list[_Shared] = []

    @property
    def started(self) -> bool:
        """Whether there is one already."""
        return bool(self._helpers)

    def expect(self) -> None:
        """Start one, so that it is there when there is work for it."""
        if self._most >= 1 and not self._helpers:
            with suppress(OSError):
                self._new()

    def lend(self) -> Helper:
        """One that nobody else has borrowed, until it is closed; what it does aside it ends first.

        Raises OSError where none can be started.
        """
        found = next((each for each in self._helpers if not each.lent), None) or self._new()
        found.lent = True
        return found

    def begin(self, work: Callable[[Store, Any, Progress], object], argument: Any) -> Callable[[], None]:
        """Have ``work(store, argument, progress)`` done; what is returned waits until it is done, or given up.

        What ``work`` finds is for the store alone: whoever needs it looks there, and does it where it is not. So
        nothing is raised, neither by this nor by waiting.
        """
        if self._most < 1:
            return _nothing
        try:
            helper = self._helpers[0] if self._helpers else self._new()
        except OSError:
            return _nothing

        def ask() -> None:
            # What is wrong with an input is told by whoever needs it.
            with suppress(Exception):
                helper.run(work, argument, lambda amount: None)

        thread = threading.Thread(target=ask, name="aside", daemon=True)
        thread.start()
        return thread.join

    def dismiss(self) -> None:
        """Nothing is asked of them any more: those that have nothing to do end meanwhile."""
        for each in self._helpers:
            each.dismiss()

    def close(self) -> None:
        """End all of them; what they have not done by now nobody waits for."""
        for each in self._helpers:
            each.end()
        self._helpers.clear()

    def _new(self) -> _Shared:
        found = _Shared(self._start())
        self._helpers.append(found)
        return found


class _Shared:
    """Implements ``ports.helper.Helper`` by one that several threads may ask, which then wait for each other."""

    def __init__(self, helper: Helper) -> None:
        self._helper = helper
        self._turn = threading.Lock()
        self.lent = False

    @property
    def busy(self) -> bool:
        return self._turn.locked()

    def run(self, work: Callable[[Store, Any, Progress], T], argument: Any, progress: Progress) -> T:
        with self._turn:
            return self._helper.run(work, argument, progress)

    def stream(
        self, work: Callable[[Store, Any, Callable[[T], int]], object], argument: Any
    ) -> Generator[T, None, None]:
        with self._turn:
            yield from self._helper.stream(work, argument)

    def stop(self) -> None:
        self._helper.stop()

    def close(self) -> None:
        """Give it back."""
        self.lent = False

    def dismiss(self) -> None:
        if self._turn.acquire(blocking=False):
            self._helper.dismiss()
            self._turn.release()

    def end(self) -> None:
        if self._turn.acquire(blocking=False):
            self._helper.close()
            self._turn.release()
        else:
            self._helper.stop()


def _nothing() -> None:
    pass
