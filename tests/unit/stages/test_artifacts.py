"""Wheels on their way into the store, while layers of those that are there are made."""

import io
import re
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.base import make_base
from factories.wheel import make_wheel

from dpbuild.adapters.reporter import StreamReporter
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import ArtifactError, HashMismatch, PathConflict
from dpbuild.model.lock import LockedFile, LockedPackage
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.stages.artifacts import Row, fetching
from dpbuild.stages.layers.make import WheelLayers, make_layers
from dpbuild.stages.layers.site import Site

LARGE = 5 << 20


class Index:
    """A fetcher; ``before`` is called with a file's name before its bytes are there."""

    def __init__(self, store: DiskStore, before: Callable[[str], object] = lambda name: None) -> None:
        self.store = store
        self.files: dict[str, bytes] = {}
        self.before = before
        self.asked: list[str] = []

    def add(self, wheel: tuple[str, bytes], size: int | None = -1) -> Row:
        """A wheel that can be had, as a lock has it; ``size`` is another than its own."""
        name, data = wheel
        self.files[name] = data
        sha256 = Digest.of(data).hex
        file = LockedFile(
            name=name, url=f"https://index.example/{name}", sha256=sha256, size=len(data) if size == -1 else size
        )
        return LockedPackage(name=name.split("-")[0], version="1.0", wheels=(file,)), file

    def fetch(self, file: LockedFile, directory: str) -> int:
        self.asked.append(file.name)
        self.before(file.name)
        with self.store.writer() as writer:
            writer.write(self.files[file.name])
            return writer.commit(Digest(file.sha256))[1]


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


def quiet(stream: io.StringIO | None = None) -> StreamReporter:
    return StreamReporter(stream or io.StringIO(), lambda: 0.0, "json" if stream else "none")


def build(
    rows: list[Row],
    index: Index,
    ready: Callable[[Descriptor], object] = lambda layer: None,
    reporter: StreamReporter | None = None,
    begun: Callable[[], object] = lambda: None,
) -> WheelLayers:
    reporter = reporter or quiet()
    with fetching(rows, "/project", index.store, lambda: index, reporter) as arriving:
        begun()
        return make_layers(
            arriving.artifacts, Site(make_base()), index.store, reporter, taken=50, ready=ready, wait=arriving.wait
        )


def large(name: str) -> tuple[str, bytes]:
    return make_wheel(
        name, "1.0", files={f"{name}.bin": name.encode() * (LARGE // len(name))}, method=zipfile.ZIP_STORED
    )


def test_a_layer_is_made_while_other_wheels_are_downloaded(store: DiskStore, tmp_path: Path) -> None:
    """The last wheel comes only when the layers of all others are made: this ends, and ends well."""
    made = threading.Semaphore(0)

    def before(name: str) -> None:
        if name.startswith("late"):
            for _ in range(2):
                assert made.acquire(timeout=60), "no layer was made"

    index = Index(store, before)
    rows = [index.add(large(name)) for name in ("late", "one", "two")]
    stream = io.StringIO()
    layers = build(rows, index, lambda layer: made.release(), quiet(stream)).layers
    # As if all had been there.
    other = DiskStore(tmp_path / "other")
    at_hand = Index(other)
    for row in rows:
        at_hand.files = index.files
        at_hand.fetch(row[1], "")
    assert layers == build(rows, at_hand).layers
    told = [re.sub(r'"seconds".*', "", row) for row in stream.getvalue().splitlines()]
    assert told[0].startswith('{"event": "start", "step": "downloading 3 wheels", "total": ')
    assert told[1:] == [
        '{"event": "start", "step": "making 3 layers", "total": null}',
        f'{{"event": "done", "step": "downloading 3 wheels", "result": "{sum(map(len, index.files.values())) / 1e6:.1f} MB", ',
        '{"event": "done", "step": "making 3 layers", "result": "3 wheels", ',
    ]


def test_the_largest_is_fetched_first(store: DiskStore) -> None:
    index = Index(store)
    small = [index.add(make_wheel(f"small{n}", "1.0", files={f"small{n}.py": "x = 1\n" * n})) for n in range(8)]
    build([*small, index.add(large("large"))], index)
    assert index.asked[0].startswith("large")
    assert len(index.asked) == 9


@pytest.mark.parametrize("size", [None, -1])
def test_a_wheel_of_unknown_size_is_waited_for(store: DiskStore, size: int | None) -> None:
    """Which layer it is in depends on its size, so nothing can be made before."""
    index = Index(store)
    rows = [index.add(large("one"), size)]
    with fetching(rows, "/project", store, lambda: index, quiet()) as arriving:
        (artifact,) = arriving.artifacts
        assert artifact.size == len(index.files["one-1.0-py3-none-any.whl"])
        assert (artifact.digest not in arriving.under_way) is (size is None)


@pytest.mark.parametrize("there", [False, True])
def test_a_size_that_the_lock_has_wrong(store: DiskStore, there: bool) -> None:
    """Also where it comes so soon that it is in the store when layers begin to be made."""
    index, begun = Index(store), threading.Event()
    rows = [index.add(large("one"), 7)]
    digest = Digest(rows[0][1].sha256)

    def arrived() -> None:
        while there and not store.has(digest):
            time.sleep(0.001)
        begun.set()

    if not there:
        index.before = lambda name: begun.wait(10)
    with pytest.raises(HashMismatch, match=r"one-1\.0-py3-none-any\.whl .* has \d+ bytes, the lock says 7"):
        build(rows, index, begun=arrived)


def test_one_that_fails_ends_the_others(store: DiskStore) -> None:
    """What is said is what is wrong, not what was given up because of it; nothing half-made stays."""
    begun = threading.Event()

    def before(name: str) -> None:
        if name.startswith("bad"):
            assert begun.wait(60)
            raise ArtifactError(f"cannot download {name}")
        begun.set()

    index = Index(store, before)
    names = ["bad", *(f"good{n:02}" for n in range(40))]
    rows = [index.add(make_wheel(name, "1.0", files={f"{name}.py": "x = 1\n" * 9})) for name in names]
    rows.append(index.add(large("large")))
    stream = io.StringIO()
    with pytest.raises(ArtifactError, match=r"cannot download bad-1\.0"):
        build(rows, index, reporter=quiet(stream))
    assert '"done"' not in stream.getvalue()
    assert list((store.path / "tmp").iterdir()) == []


def test_wheels_that_collide_are_found_whenever_they_come(store: DiskStore) -> None:
    """The message does not depend on which of the two was there first."""
    first = make_wheel("first", "1.0", files={"both.py": "x = 1\n"})
    second = make_wheel("second", "1.0", files={"both.py": "x = 2\n"})
    third = make_wheel("third", "1.0", files={"both.py/inside.py": ""})
    for late, early in ((first, second), (second, first)):
        other = DiskStore(store.path.with_name(f"store-{late[0]}"))
        here = threading.Event()

        def before(name: str, late: str = late[0], here: threading.Event = here) -> None:
            if name == late:
                assert here.wait(60)
            else:
                here.set()

        index = Index(other, before)
        with pytest.raises(PathConflict, match=r"first 1\.0 and second 1\.0 both have the file /.*/both\.py"):
            build([index.add(late), index.add(early)], index)
    for rows in ((first, third), (third, first)):
        index = Index(DiskStore(store.path.with_name(f"store-third-{rows[0][0]}")))
        with pytest.raises(
            PathConflict, match=r"first 1\.0 has the file /.*/both\.py, which is a folder in third 1\.0"
        ):
            build([index.add(row) for row in rows], index)
