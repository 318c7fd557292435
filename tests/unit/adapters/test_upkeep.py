"""What is in a store, what pruning and cleaning remove, and who waits for whom."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dpbuild.adapters import store_lock
from dpbuild.adapters.store import DiskStore
from dpbuild.adapters.upkeep import KINDS, Entry, Removed, Upkeep
from dpbuild.cli import cache
from dpbuild.errors import StoreError
from dpbuild.oci.digest import Digest

# Long ago: whatever a test uses is newer.
NOW = 1_700_000_000.0
DAY = 86400.0


def put(store: DiskStore, data: bytes) -> Digest:
    with store.writer() as writer:
        writer.write(data)
        return writer.commit()[0]


class Filled:
    """A store with one entry of everything that a build leaves; closed, so that upkeep may work."""

    def __init__(self, path: Path) -> None:
        self.path = path
        store = DiskStore(path)
        self.base = put(store, gzip.compress(b"base layer"))
        self.config = put(store, json.dumps({"rootfs": {}}).encode())
        self.wheel = put(store, b"PK\x03\x04 a wheel")
        self.layer = put(store, gzip.compress(b"made layer"))
        # The image that was made was also looked at, so that its manifest names both layers.
        layers = [{"digest": str(row)} for row in (self.base, self.layer)]
        self.manifest = put(store, json.dumps({"layers": layers, "config": {"digest": str(self.config)}}).encode())
        store.put("layers", "made", json.dumps([self.layer.hex, 1, "0" * 64, 1, "type"]).encode())
        store.put("layers", "composed", json.dumps({"digest": str(self.base)}).encode())
        store.put("facts", "base", b"facts")
        store.put("wheels", "listing", b"[]")
        store.put("app", "wheel", b"[]")
        with store.make_folder("rootfs", "base") as folder:
            (Path(folder) / "usr").mkdir()
            (Path(folder) / "usr" / "python3").write_bytes(b"x" * 1000)
            os.link(Path(folder) / "usr" / "python3", Path(folder) / "python")
            (Path(folder) / "usr").chmod(0o555)
        for name in ("uv/simple", "logs"):
            (path / name).mkdir(parents=True)
        (path / "uv/simple/index").write_bytes(b"y" * 100)
        (path / "logs/app.log").write_bytes(b"log")
        store.close()

    def blob(self, digest: Digest) -> Path:
        return self.path / "blobs/sha256" / digest.hex

    def age(self, days: float, *only: Path) -> None:
        rows = only or [row for row in self.path.rglob("*") if not row.is_symlink()]
        for row in rows:
            os.utime(row, (NOW - days * DAY, NOW - days * DAY))


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    return Filled(tmp_path / "store")


@pytest.fixture
def tidied() -> list[Path]:
    return []


@pytest.fixture
def upkeep(filled: Filled, tidied: list[Path]) -> Upkeep:
    return Upkeep(filled.path, lambda: NOW, lambda text: None, tidied.append)


def by_kind(entries: tuple[Entry, ...]) -> dict[str, int]:
    return {kind: sum(1 for row in entries if row.kind == kind) for kind in (*KINDS, "unfinished")}


def test_everything_is_of_one_kind(filled: Filled, upkeep: Upkeep) -> None:
    entries = upkeep.entries()
    assert by_kind(entries) == {"bases": 4, "wheels": 4, "layers": 2, "facts": 1, "builders": 2, "unfinished": 0}
    kinds = {row.path.name: row.kind for row in entries}
    assert {kinds[row.hex] for row in (filled.base, filled.config, filled.manifest)} == {"bases"}
    assert kinds[filled.wheel.hex] == "wheels"
    assert kinds[filled.layer.hex] == "layers"
    sizes = {row.path.name: row.size for row in entries}
    assert sizes["uv"] == 100
    # A file with two names takes its room once.
    assert [row.size for row in entries if row.path.parent.name == "rootfs"] == [1000]


def test_the_command_line_knows_the_same_kinds() -> None:
    assert cache.KINDS == KINDS


def test_what_was_used_lately_stays(filled: Filled, upkeep: Upkeep, tidied: list[Path]) -> None:
    filled.age(40)
    store = DiskStore(filled.path)
    store.open(filled.base).close()
    assert store.has(filled.manifest)
    assert store.get("facts", "base") == b"facts"
    assert store.folder("rootfs", "base") is not None
    store.close()
    removed = upkeep.prune(30 * DAY)
    # The uv folder is uv's to tidy; all else that was not used is gone.
    assert removed.entries == 8
    left = {row.path for row in upkeep.entries()}
    assert left == {
        filled.blob(filled.base), filled.blob(filled.manifest), filled.path / "uv",
        *filled.path.glob("maps/facts/*"), *filled.path.glob("trees/rootfs/*"),
    }  # fmt: skip
    assert tidied == [filled.path / "uv"]


def test_using_is_noted_once_and_also_for_what_is_only_asked_for(filled: Filled) -> None:
    filled.age(40)
    store = DiskStore(filled.path)
    store.has(filled.wheel)
    first = filled.blob(filled.wheel).stat().st_mtime_ns
    assert first != (NOW - 40 * DAY) * 1e9
    filled.age(40, filled.blob(filled.wheel))
    store.has(filled.wheel)
    assert filled.blob(filled.wheel).stat().st_mtime == NOW - 40 * DAY


def test_only_some_kinds(filled: Filled, upkeep: Upkeep, tidied: list[Path]) -> None:
    filled.age(40)
    upkeep.prune(30 * DAY, ("layers",))
    assert by_kind(upkeep.entries()) == {
        "bases": 4, "wheels": 4, "layers": 0, "facts": 1, "builders": 2, "unfinished": 0}  # fmt: skip
    assert tidied == []
    upkeep.clean(("builders", "facts"))
    assert by_kind(upkeep.entries()) == {
        "bases": 4, "wheels": 4, "layers": 0, "facts": 0, "builders": 0, "unfinished": 0}  # fmt: skip


def test_what_killed_runs_left_goes_whatever_its_age(filled: Filled, upkeep: Upkeep) -> None:
    (filled.path / "tmp/tmpabc").write_bytes(b"z" * 50)
    (filled.path / "tmp/dpbuild-build-x/source").mkdir(parents=True)
    (filled.path / "tmp/dpbuild-build-x/source").chmod(0o500)
    assert by_kind(upkeep.entries())["unfinished"] == 2
    assert upkeep.prune(30 * DAY, ("facts",)) == Removed(2, 50)
    assert list((filled.path / "tmp").iterdir()) == []


def test_a_mapping_to_a_layer_that_is_gone_goes_too(filled: Filled, upkeep: Upkeep) -> None:
    filled.age(0)
    filled.blob(filled.layer).unlink()
    upkeep.prune(30 * DAY)
    store = DiskStore(filled.path)
    assert store.get("layers", "made") is None
    assert store.get("layers", "composed") is not None


def test_a_dry_run_removes_nothing_and_counts_the_same(filled: Filled, upkeep: Upkeep) -> None:
    filled.age(40)
    before = upkeep.entries()
    counted = upkeep.prune(30 * DAY, dry_run=True)
    assert upkeep.entries() == before
    assert upkeep.prune(30 * DAY) == counted
    assert counted.entries == len(before) - 1


def test_cleaning_removes_everything_and_the_store_still_works(filled: Filled, upkeep: Upkeep) -> None:
    upkeep.clean()
    assert upkeep.entries() == ()
    assert not (filled.path / "uv").exists()
    store = DiskStore(filled.path)
    assert not store.has(filled.wheel)
    assert put(store, b"PK\x03\x04 a wheel") == filled.wheel


def test_what_is_in_the_folder_besides_is_left_alone(filled: Filled, upkeep: Upkeep) -> None:
    (filled.path / "notes.txt").write_text("mine")
    (filled.path / "mine").mkdir()
    (filled.path / "mine/file").write_text("mine")
    upkeep.clean()
    assert (filled.path / "notes.txt").read_text() == (filled.path / "mine/file").read_text() == "mine"


def test_links_in_the_store_are_not_followed(filled: Filled, upkeep: Upkeep, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    for place in ("tmp/link", "trees/rootfs/link", "logs/link"):
        (filled.path / place).symlink_to(outside)
    upkeep.clean()
    assert (outside / "file").read_text() == "mine"


def test_no_store_is_an_empty_one_and_is_not_made(tmp_path: Path) -> None:
    upkeep = Upkeep(tmp_path / "none", lambda: NOW, lambda text: None, lambda path: None)
    assert upkeep.entries() == ()
    assert upkeep.clean() == Removed(0, 0)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "tmp").mkdir(parents=True)
    (folder / "tmp/holiday").write_text("mine")
    folder.chmod(0o700)
    upkeep = Upkeep(folder, lambda: NOW, lambda text: None, lambda path: None)
    for act in (upkeep.entries, upkeep.clean, lambda: upkeep.prune(0)):
        with pytest.raises(StoreError, match="no store of dpbuild"):
            act()
    assert (folder / "tmp/holiday").exists()
    assert not (folder / "lock").exists()


def test_a_store_in_use_is_refused_without_waiting(filled: Filled, upkeep: Upkeep) -> None:
    store = DiskStore(filled.path)
    for act in (lambda: upkeep.clean(wait=False), lambda: upkeep.prune(0, wait=False)):
        with pytest.raises(StoreError, match="in use by another dpbuild"):
            act()
    assert store.has(filled.wheel)
    store.close()
    assert upkeep.clean(wait=False).entries > 0


def test_several_runs_use_a_store_at_once(filled: Filled) -> None:
    first, second = DiskStore(filled.path), DiskStore(filled.path)
    assert first.has(filled.wheel)
    assert second.has(filled.wheel)


def after_waiting(waiting: threading.Event) -> Callable[[str], None]:
    def note(text: str) -> None:
        assert text.startswith("waiting for")
        waiting.set()

    return note


def test_cleaning_waits_for_runs(filled: Filled) -> None:
    store = DiskStore(filled.path)
    waiting = threading.Event()
    upkeep = Upkeep(filled.path, lambda: NOW, after_waiting(waiting), lambda path: None)
    done: list[Removed] = []
    cleaner = threading.Thread(target=lambda: done.append(upkeep.clean()))
    cleaner.start()
    assert waiting.wait(30)
    assert store.has(filled.wheel)
    with store.open(filled.wheel) as file:
        assert file.read().startswith(b"PK")
    store.close()
    cleaner.join(30)
    assert done[0].entries > 0
    assert not filled.blob(filled.wheel).exists()


def test_a_run_waits_for_a_cleaning(filled: Filled) -> None:
    lock = store_lock.own(filled.path, lambda text: None, wait=False)
    waiting = threading.Event()
    opened: list[DiskStore] = []
    run = threading.Thread(target=lambda: opened.append(DiskStore(filled.path, after_waiting(waiting))))
    run.start()
    assert waiting.wait(30)
    assert opened == []
    lock.release()
    run.join(30)
    assert opened[0].has(filled.wheel)


def test_a_killed_run_holds_nothing(filled: Filled, upkeep: Upkeep) -> None:
    code = (
        "import sys, pathlib, time\nfrom dpbuild.adapters.store import DiskStore\n"
        "store = DiskStore(pathlib.Path(sys.argv[1])); print('ready', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(filled.path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(StoreError, match="in use"):
            upkeep.clean(wait=False)
        process.kill()
        process.wait(30)
    assert upkeep.clean(wait=False).entries > 0
