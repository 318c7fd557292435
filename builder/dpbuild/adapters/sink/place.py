"""One repository while it is written: what was sent and what was there, shown as it goes; and many things at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, BinaryIO

from dpbuild.errors import RegistryError
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import RegistryReference
from dpbuild.ports.reporter import Step

if TYPE_CHECKING:
    from concurrent.futures import Future


class Place:
    """One repository while it is written; ``siblings`` are repositories that have the image already."""

    def __init__(
        self, *, tags: tuple[RegistryReference, ...], siblings: tuple[RegistryReference, ...], step: Step
    ) -> None:
        self.tags = tags
        self.siblings = siblings
        self.step = step
        self.sent = 0
        self.present = 0
        self.trusted = False
        self.stop = threading.Event()
        # What was counted, and is there.
        self.done: set[Digest] = set()
        self._lock = threading.Lock()

    @property
    def reference(self) -> RegistryReference:
        """The repository, with one of its tags."""
        return self.tags[0]

    def skip(self, rows: Iterable[Descriptor]) -> None:
        """These are there."""
        for row in rows:
            if row.digest not in self.done:
                self.count(row, sent=False, shown=0)

    def count(self, row: Descriptor, *, sent: bool, shown: int) -> None:
        """This one is there now; ``shown`` of its bytes have been shown."""
        with self._lock:
            self.done.add(row.digest)
            if sent:
                self.sent += row.size
            else:
                self.present += row.size
        self.step.advance(row.size - shown)

    def again(self) -> Place:
        """The same, counted from the beginning; what was sent stays sent."""
        self.present, self.trusted = 0, False
        self.done.clear()
        return self


class Later:
    """A step that is not shown yet: what is done before is told when it is."""

    def __init__(self) -> None:
        self._waiting = 0
        self._step: Step | None = None
        self._lock = threading.Lock()

    def advance(self, amount: int) -> None:
        """As ``Step``."""
        with self._lock:
            step = self._step
            if step is None:
                self._waiting += amount
        if step is not None:
            step.advance(amount)

    def done(self, result: str) -> None:
        """It ends with the one that it goes on in."""

    def go_on(self, step: Step) -> None:
        """Go on in a step that is shown."""
        with self._lock:
            self._step = step
        step.advance(self._waiting)


def given_up() -> RegistryError:
    """What ends sending a blob that nobody needs any more."""
    return RegistryError("the push was given up because another part of it failed")


class Meter:
    """Shows how far one blob is. A blob that is sent again does not count twice."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.shown = 0

    def wrap(self, file: BinaryIO) -> _Metered:
        """The file, whose reading is shown."""
        return _Metered(self, file)

    def reached(self, position: int) -> None:
        """So many bytes were read. Raises RegistryError once another part has failed."""
        if self._place.stop.is_set():
            raise given_up()
        if position > self.shown:
            self._place.step.advance(position - self.shown)
            self.shown = position


class _Metered:
    """What of a file is needed to send it."""

    def __init__(self, meter: Meter, file: BinaryIO) -> None:
        self._meter = meter
        self._file = file
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._position += len(data)
        self._meter.reached(self._position)
        return data

    def close(self) -> None:
        self._file.close()


def finish(jobs: Sequence[Future[None]], stop: threading.Event | None = None) -> None:
    """Wait for all of them. The first error keeps others from beginning, and sets ``stop`` for those under way; it is
    raised when they have ended.
    """
    if not jobs:
        return
    from concurrent.futures import FIRST_EXCEPTION, wait

    try:
        wait(jobs, return_when=FIRST_EXCEPTION)
        for job in jobs:
            if job.done():
                job.result()
    except BaseException:
        if stop is not None:
            stop.set()
        for job in jobs:
            job.cancel()
        wait(jobs)
        raise


def settle(jobs: Sequence[Future[None]]) -> None:
    """Wait for all of them, however they end."""
    if jobs:
        from concurrent.futures import wait

        wait(jobs)
