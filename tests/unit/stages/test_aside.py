"""What is done aside: by fakes for the order of things, by real processes for what is left in the store."""

import gzip
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from factories.image import make_tar

from dpbuild.adapters.helper import ProcessHelper
from dpbuild.adapters.store import DiskStore
from dpbuild.archive.entry import Kind
from dpbuild.oci import mediatype
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.ports.helper import HelperLost
from dpbuild.stages.aside import Aside
from dpbuild.stages.inventory import inventories
from dpbuild.stages.proof.scans import scan_layers, scan_there


class Fake:
    """Does the work in this process; ``gate`` holds it up, ``lost`` ends it."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.lost = False
        self.ended = ""
        self.dismissed = False
        self.at_work = 0
        self.most = 0

    def run(self, work: Callable[[Any, Any, Any], Any], argument: Any, progress: Callable[[int], object]) -> Any:
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        self.begun.set()
        try:
            assert self.gate.wait(10)
            if self.lost:
                raise HelperLost("gone")
            return work(None, argument, progress)
        finally:
            self.at_work -= 1

    def stream(self, work: Callable[[Any, Any, Any], Any], argument: Any) -> Generator[Any, None, None]:
        yield from range(argument)

    def stop(self) -> None:
        self.ended = self.ended or "stopped"
        self.lost = True
        self.gate.set()

    def dismiss(self) -> None:
        self.dismissed = True

    def close(self) -> None:
        self.ended = self.ended or "closed"


class Starting:
    def __init__(self) -> None:
        self.made: list[Fake] = []

    def __call__(self) -> Fake:
        self.made.append(Fake())
        return self.made[-1]


def test_what_is_begun_is_done_when_waiting_returns() -> None:
    start, done = Starting(), []
    aside = Aside(start, 2)
    assert not aside.started
    wait = aside.begin(lambda store, argument, progress: done.append(argument), "this")
    wait()
    assert done == ["this"]
    assert aside.started
    aside.close()
    assert [each.ended for each in start.made] == ["closed"]


def test_one_that_is_lent_is_busy_while_it_does_something_aside_or_sends() -> None:
    start = Starting()
    aside = Aside(start, 2)
    lent = aside.lend()
    assert not lent.busy
    start.made[0].gate.clear()
    wait = aside.begin(lambda store, argument, progress: None, None)
    assert start.made[0].begun.wait(10)
    assert lent.busy
    start.made[0].gate.set()
    wait()
    assert not lent.busy
    stream = lent.stream(lambda store, argument, send: None, 2)
    assert (next(stream), lent.busy) == (0, True)
    assert (list(stream), lent.busy) == ([1], False)
    # Also where nobody wants the rest.
    stream = lent.stream(lambda store, argument, send: None, 2)
    assert (next(stream), lent.busy) == (0, True)
    stream.close()
    assert not lent.busy


def test_who_is_still_at_work_is_not_dismissed() -> None:
    start = Starting()
    aside = Aside(start, 2)
    aside.dismiss()
    aside.begin(lambda store, argument, progress: None, None)()
    start.made[0].begun.clear()
    start.made[0].gate.clear()
    wait = aside.begin(lambda store, argument, progress: None, None)
    assert start.made[0].begun.wait(10)
    aside.dismiss()
    assert not start.made[0].dismissed
    start.made[0].gate.set()
    wait()
    aside.dismiss()
    assert start.made[0].dismissed
    assert start.made[0].ended == ""
    aside.close()
    assert start.made[0].ended == "closed"


def test_who_is_expected_is_there_for_whoever_comes_first() -> None:
    start = Starting()
    aside = Aside(start, 2)
    aside.expect()
    aside.expect()
    assert aside.started
    aside.lend()
    aside.begin(lambda store, argument, progress: None, None)()
    assert len(start.made) == 1


def test_one_processor_has_nobody_aside() -> None:
    start = Starting()
    aside = Aside(start, 1)
    aside.expect()
    aside.begin(lambda store, argument, progress: None, None)()
    assert start.made == []


def test_who_cannot_be_started_or_fails_or_is_lost_is_not_missed() -> None:
    def none() -> Fake:
        raise OSError("no more processes")

    Aside(none, 2).expect()
    Aside(none, 2).begin(lambda store, argument, progress: None, None)()

    def fails(store: Any, argument: Any, progress: Any) -> None:
        raise ValueError(argument)

    start = Starting()
    aside = Aside(start, 2)
    aside.begin(fails, "bad")()
    start.made[0].lost = True
    aside.begin(fails, "bad")()
    aside.close()


def test_who_is_lent_ends_what_it_does_aside_first() -> None:
    held, order = Fake(), []
    held.gate.clear()
    aside = Aside(lambda: held, 3)
    wait = aside.begin(lambda store, argument, progress: order.append(argument), "aside")
    lent = aside.lend()

    def borrow() -> None:
        lent.run(lambda store, argument, progress: order.append(argument), "lent", lambda amount: None)

    borrower = threading.Thread(target=borrow)
    borrower.start()
    held.gate.set()
    wait()
    borrower.join()
    assert sorted(order) == ["aside", "lent"]
    assert held.most == 1
    aside.close()


def test_each_borrower_has_one_of_its_own_until_it_gives_it_back() -> None:
    start = Starting()
    aside = Aside(start, 4)
    first, second = aside.lend(), aside.lend()
    assert first is not second
    first.close()
    assert aside.lend() is first
    assert [each.ended for each in start.made] == ["", ""]
    aside.close()
    assert [each.ended for each in start.made] == ["closed", "closed"]


def test_what_is_still_done_when_the_build_ends_is_stopped() -> None:
    held = Fake()
    held.gate.clear()
    aside = Aside(lambda: held, 2)
    wait = aside.begin(lambda store, argument, progress: None, None)
    assert held.begun.wait(10)
    aside.close()
    wait()
    assert held.ended == "stopped"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    found = DiskStore(tmp_path / "store")
    yield found
    found.close()


def test_a_real_helper_leaves_scans_and_inventories_in_the_store(store: DiskStore) -> None:
    plain = make_tar({"usr/bin/tool": b"#!/bin/sh\n", "usr/share/text": b"text"})
    with store.writer() as writer:
        writer.write(gzip.compress(plain, mtime=0))
        digest, size = writer.commit()
    layer = Descriptor(media_type=mediatype.OCI_LAYER_GZIP, digest=digest, size=size)
    aside = Aside(lambda: ProcessHelper(store), 2)
    aside.begin(scan_there, ((layer,), (Digest.of(plain),)))()
    aside.close()
    (digest_path,) = (store.path / "blobs" / "sha256").iterdir()
    digest_path.unlink()

    def absent(layer: Descriptor) -> None:
        pytest.fail("the layer is read again")

    (found,) = scan_layers((layer,), (Digest.of(plain),), store, absent)
    assert [row.path for row in found.entries if row.kind is Kind.FILE] == ["usr/bin/tool", "usr/share/text"]
    assert len(inventories((layer,), store, absent)[0].hashes) == 2
