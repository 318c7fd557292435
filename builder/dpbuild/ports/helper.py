"""Another process of dpbuild's own: Python runs one thread at a time, whatever the number of processors."""

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

from dpbuild.ports.store import Store

T = TypeVar("T")
Progress = Callable[[int], object]


class HelperLost(Exception):
    """The process ended before it had answered: whoever asked does the work itself."""


class Helper(Protocol):
    """It has the same store, and is asked by one thread at a time."""

    @property
    def busy(self) -> bool:
        """Whether it does something for others now: whoever asks waits for that."""

    def run(self, work: Callable[[Store, Any, Progress], T], argument: Any, progress: Progress) -> T:
        """``work(store, argument, progress)``, done there; ``work`` is a function of a module, the rest can be pickled.

        Raises what ``work`` raises, and HelperLost.
        """

    def stream(
        self, work: Callable[[Store, Any, Callable[[T], int]], object], argument: Any
    ) -> Generator[T, None, None]:
        """What ``work(store, argument, send)`` sends from there, as it comes; ``send`` says how many nobody has taken.

        Of a ``pickle.PickleBuffer`` the memory goes as it is; what comes of it may be looked at until the next value
        is asked for, and send has copied what it was given. Raises what ``work`` raises, and HelperLost. Closed
        before its end it stops the helper: what is on the way is of no use to anybody else.
        """

    def stop(self) -> None:
        """End it now; what it was asked is lost. Doing so twice is fine."""

    def dismiss(self) -> None:
        """Nothing is asked any more: it ends while this process goes on, which still has to close it."""

    def close(self) -> None:
        """Let it end, and wait for that. Doing so twice is fine."""
