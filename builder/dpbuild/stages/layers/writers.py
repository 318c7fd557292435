"""Who writes layers: helpers and this process, as many at a time as there are processors."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from dpbuild.model.layer import Layer
from dpbuild.ports.helper import Helper, HelperLost
from dpbuild.ports.store import Store
from dpbuild.stages.layers.order import Order, fulfil

# Starting another process pays from this many bytes of wheels on, and to read a single layer's from that many.
_WORTH_IT: Final = 4 << 20
_WORTH_READING: Final = 64 << 20


@contextmanager
def writers(store: Store, sizes: Sequence[int], cores: int, start: Callable[[], Helper] | None) -> Iterator["Writers"]:
    """For layers of wheels of these sizes in bytes: with helpers that ``start`` starts, if there is enough to do.

    The helpers have ended when the block has; an error ends them at once.
    """
    enough = sum(sizes) >= (_WORTH_IT if len(sizes) > 1 else _WORTH_READING)
    helpers: list[Helper] = []
    if start is not None and enough:
        with suppress(OSError):
            helpers += [start() for _ in range(min(cores, max(2, len(sizes))) - 1)]
    try:
        # Without helpers two threads share the work as far as Python lets them.
        yield Writers(store, helpers, sum(sizes), here=1 if helpers else max(2, cores))
    except BaseException:
        for each in helpers:
            each.stop()
        raise
    for each in helpers:
        each.close()


class Writers:
    """Has each layer written by whoever is free first; asked by many threads.

    With helpers one layer at a time is written in this process: two would wait for each other's Python. A layer that is
    larger than all others that are left gets both, a helper that reads and this process that writes: with one of
    them it would be the last to be done.
    """

    def __init__(self, store: Store, helpers: Sequence[Helper], size: int, *, here: int) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._helpers = list(helpers)
        self._here = here
        self._left = size

    def fulfil(self, order: Order, size: int, progress: Callable[[int], object]) -> Layer:
        """The layer; ``size`` is that of its wheels. Raises UnsafeWheel, LayerError, StoreError."""
        while True:
            helper, here = self._take(size)
            try:
                if helper is None:
                    return fulfil(self._store, order, progress)
                if here:
                    return fulfil(self._store, order, progress, helper)
                return helper.run(fulfil, order, progress)
            except HelperLost:
                # Whoever else is there does it.
                helper = None
            finally:
                self._give_back(helper, here)

    def settled(self, size: int) -> None:
        """A layer of wheels of this size is there, whoever has made it."""
        with self._changed:
            self._left -= size

    def _take(self, size: int) -> tuple[Helper | None, int]:
        """A helper, or the turn of this process as 1, or both."""
        with self._changed:
            self._changed.wait_for(lambda: self._helpers or self._here)
            helper = self._helpers.pop() if self._helpers else None
            most = size >= _WORTH_READING and size > self._left - size
            here = 1 if helper is None or (most and self._here) else 0
            self._here -= here
            return helper, here

    def _give_back(self, helper: Helper | None, here: int) -> None:
        with self._changed:
            if helper is not None:
                self._helpers.append(helper)
            self._here += here
            # What is given back may be both, and each is enough for one who waits.
            self._changed.notify_all()
