"""Who writes which layer: how many at a time, in which process, and what becomes of the work of one that is lost."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from dpbuild.model.layer import Layer
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.mediatype import OCI_LAYER_GZIP
from dpbuild.ports.helper import Helper, HelperLost
from dpbuild.ports.store import Store
from dpbuild.stages.layers import writers as module
from dpbuild.stages.layers.order import Order
from dpbuild.stages.layers.writers import Writers, writers

LARGE = module._WORTH_READING
STORE = cast("Store", None)
ORDER = Order(files={}, folders=[], comment="", removed=frozenset(), readers=(), observer=None)
LAYER = Layer(
    descriptor=Descriptor(media_type=OCI_LAYER_GZIP, digest=Digest("1" * 64), size=1),
    diff_id=Digest("2" * 64),
    comment="",
    size=1,
)


class Asked:
    """A helper that answers when it may, or is lost."""

    def __init__(self, *, lost: bool = False) -> None:
        self.runs = 0
        self.ended = ""
        self.lost = lost
        self.may = threading.Event()
        self.may.set()

    def run(self, work: object, argument: object, progress: object) -> Any:
        self.runs += 1
        if self.lost:
            raise HelperLost("gone")
        assert self.may.wait(10)
        return LAYER

    def stop(self) -> None:
        self.ended = "stopped"

    def dismiss(self) -> None: ...

    def close(self) -> None:
        self.ended = "closed"


class Here:
    """Takes the place of ``fulfil``: what is written in this process, by whose reading, and how many at once."""

    def __init__(self) -> None:
        self.readers: list[object] = []
        self.most = 0
        self.after: Callable[[], None] = lambda: None
        self._now = 0
        self._lock = threading.Lock()
        self._two = threading.Event()

    def __call__(self, store: Store, order: Order, progress: object, ahead: Helper | None = None) -> Layer:
        with self._lock:
            self.readers.append(ahead)
            self._now += 1
            self.most = max(self.most, self._now)
            if self._now > 1:
                self._two.set()
        # Others have their chance to come in.
        self._two.wait(0.2)
        with self._lock:
            self._now -= 1
        self.after()
        if isinstance(ahead, Asked) and ahead.lost:
            raise HelperLost("gone")
        return LAYER


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    found = Here()
    monkeypatch.setattr(module, "fulfil", found)
    return found


def write(writing: Writers, size: int = 1) -> Layer:
    return writing.fulfil(ORDER, size, lambda amount: None)


def start(*helpers: Asked) -> Callable[[], Helper]:
    rest = iter(helpers)
    return lambda: cast("Helper", next(rest))


@pytest.mark.parametrize("others", [0, 1])
def test_one_layer_at_a_time_is_written_here_where_there_are_helpers(here: Here, others: int) -> None:
    """Also when another helper is lost, whose layer has to be written by somebody else then."""
    busy = Asked()
    busy.may.clear()
    lost = [Asked(lost=True) for _ in range(others)]

    def after() -> None:
        if len(here.readers) == 3:
            busy.may.set()

    here.after = after
    with writers(STORE, [LARGE] * 4, 2 + others, start(busy, *lost)) as writing, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, [writing] * 4)) == [LAYER] * 4
    assert here.readers == [None] * 3
    assert here.most == 1
    assert busy.runs == 1
    assert [each.runs for each in lost] == [1] * others


def test_without_helpers_two_threads_share_the_work(here: Here) -> None:
    with writers(STORE, [LARGE] * 4, 1, None) as writing, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, [writing] * 4)) == [LAYER] * 4
    assert here.most == 2


def test_the_largest_is_read_by_the_helper_and_written_here(here: Here) -> None:
    helper = Asked()
    with writers(STORE, [LARGE, LARGE - 2, 1], 2, start(helper)) as writing:
        write(writing, LARGE)
        assert here.readers == [helper]
        assert helper.runs == 0
        # What is left is small, or no larger than the rest together.
        writing.settled(LARGE)
        write(writing, LARGE - 2)
        write(writing, 1)
    assert here.readers == [helper]
    assert helper.runs == 2
    assert helper.ended == "closed"


def test_a_layer_that_is_not_larger_than_the_rest_gets_one_writer(here: Here) -> None:
    helper = Asked()
    with writers(STORE, [LARGE, LARGE], 2, start(helper)) as writing:
        write(writing, LARGE)
        assert (here.readers, helper.runs) == ([], 1)
        # The other one is the last.
        writing.settled(LARGE)
        write(writing, LARGE)
        assert (here.readers, helper.runs) == ([helper], 1)


def test_a_reader_that_is_lost_costs_nothing_but_time(here: Here) -> None:
    helper = Asked(lost=True)
    with writers(STORE, [LARGE], 2, start(helper)) as writing:
        assert write(writing, LARGE) == LAYER
        assert write(writing, LARGE) == LAYER
    assert here.readers == [helper, None, None]


@pytest.mark.parametrize(
    ("sizes", "cores", "count"),
    [
        ([LARGE], 2, 1),
        ([LARGE], 8, 1),
        ([LARGE - 1], 2, 0),
        ([LARGE - 2, 1], 2, 1),
        ([LARGE] * 3, 8, 2),
        ([LARGE] * 9, 4, 3),
        ([LARGE] * 9, 1, 0),
        ([1] * 9, 4, 0),
    ],
)
def test_as_many_are_started_as_have_something_to_do(sizes: list[int], cores: int, count: int) -> None:
    started = [Asked() for _ in range(9)]
    with pytest.raises(KeyboardInterrupt), writers(STORE, sizes, cores, start(*started)):
        raise KeyboardInterrupt
    assert [each.ended for each in started] == ["stopped"] * count + [""] * (9 - count)
