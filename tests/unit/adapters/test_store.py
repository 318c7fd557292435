"""The store on disk: whole or not at all, ours alone, and mending itself."""

import errno
import os
import stat
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from dpbuild.adapters import store as module
from dpbuild.adapters.store import DiskStore, remove_tree
from dpbuild.errors import HashMismatch, StoreError
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import DamagedEntry

DATA = b"some bytes" * 1000
DIGEST = Digest.of(DATA)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, notes: list[str]) -> DiskStore:
    return DiskStore(tmp_path / "store", notes.append)


def put(store: DiskStore, data: bytes = DATA) -> Digest:
    with store.writer() as writer:
        writer.write(data)
        return writer.commit()[0]


def pending(store: DiskStore) -> list[str]:
    return [path.name for path in (store.path / "tmp").iterdir()]


def test_a_blob_is_found_by_its_digest(store: DiskStore) -> None:
    assert not store.has(DIGEST)
    assert put(store) == DIGEST
    assert store.has(DIGEST)
    assert store.size(DIGEST) == len(DATA)
    with store.open(DIGEST) as file:
        assert file.read() == DATA
    assert pending(store) == []


def test_what_is_missing_is_a_key_error(store: DiskStore) -> None:
    with pytest.raises(KeyError):
        store.open(DIGEST)
    with pytest.raises(KeyError):
        store.size(DIGEST)


def test_what_is_not_committed_leaves_nothing(store: DiskStore) -> None:
    with store.writer() as writer:
        writer.write(DATA)
        assert len(pending(store)) == 1
    assert not store.has(DIGEST)
    with pytest.raises(ZeroDivisionError), store.writer() as writer:
        writer.write(DATA)
        1 / 0  # noqa: B018
    assert pending(store) == []


def test_other_bytes_than_expected_leave_nothing(store: DiskStore) -> None:
    with pytest.raises(HashMismatch, match=str(DIGEST)), store.writer() as writer:
        writer.write(DATA + b"!")
        writer.commit(DIGEST)
    assert pending(store) == []
    assert list((store.path / "blobs/sha256").iterdir()) == []


def test_a_damaged_blob_is_discarded_and_can_be_put_again(store: DiskStore, notes: list[str]) -> None:
    put(store)
    (store.path / "blobs/sha256" / DIGEST.hex).write_bytes(DATA[:-1] + b"!")
    again = DiskStore(store.path, notes.append)
    with pytest.raises(DamagedEntry):
        again.open(DIGEST)
    assert notes == [f"a damaged entry of the store was discarded: {DIGEST}"]
    assert not again.has(DIGEST)
    put(again)
    with again.open(DIGEST) as file:
        assert file.read() == DATA


@pytest.fixture(params=[0, 1 << 40])
def large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every blob is, or none."""
    monkeypatch.setattr(module, "_LARGE", request.param)


@pytest.mark.usefixtures("large")
def test_a_blob_that_is_verified_while_it_is_read(store: DiskStore, notes: list[str]) -> None:
    put(store)
    again = DiskStore(store.path, notes.append)
    with again.opened(DIGEST) as file:
        assert file.read(3) + file.read() == DATA
    assert again.verified() == {DIGEST}
    assert file.closed
    with pytest.raises(ZeroDivisionError), again.opened(DIGEST):
        1 / 0  # noqa: B018
    with pytest.raises(KeyError), again.opened(Digest("0" * 64)):
        pass
    assert notes == []


def test_what_is_read_meanwhile_is_where_the_reader_is(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGE", 0)
    monkeypatch.setattr(module, "_CHUNK", 7)
    data = bytes(range(256)) * 1000
    digest, read, hashed = put(store, data), threading.Event(), threading.Event()
    inner = module._hashed

    def late(file: BinaryIO) -> Digest:
        assert read.wait(10)
        found = inner(file)
        hashed.set()
        return found

    monkeypatch.setattr(module, "_hashed", late)
    with DiskStore(store.path).opened(digest) as file:
        first = file.read(100_000)
        read.set()
        assert hashed.wait(10)
        assert first + file.read() == data


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("problem", [None, ValueError("it makes no sense")])
def test_what_came_of_a_damaged_blob_does_not_count(
    store: DiskStore, notes: list[str], problem: Exception | None
) -> None:
    put(store)
    (store.path / "blobs/sha256" / DIGEST.hex).write_bytes(DATA[:-1] + b"!")
    again = DiskStore(store.path, notes.append)
    with pytest.raises(DamagedEntry), again.opened(DIGEST):
        if problem is not None:
            raise problem
    assert notes == [f"a damaged entry of the store was discarded: {DIGEST}"]
    assert not again.has(DIGEST)
    assert again.verified() == frozenset()


def test_mappings(store: DiskStore, notes: list[str]) -> None:
    assert store.get("kind", "key") is None
    store.put("kind", "key", b"value")
    store.put("kind", "../../escape", b"")
    assert store.get("kind", "key") == b"value"
    assert store.get("kind", "../../escape") == b""
    assert store.get("other", "key") is None
    store.put("kind", "key", b"newer")
    assert store.get("kind", "key") == b"newer"
    assert pending(store) == []
    assert notes == []


@pytest.mark.parametrize("damage", [lambda data: data[:-1] + b"!", lambda data: data[:10], lambda data: b""])
def test_a_damaged_mapping_is_none(store: DiskStore, notes: list[str], damage) -> None:
    store.put("kind", "key", b"value")
    (path,) = (store.path / "maps/kind").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert store.get("kind", "key") is None
    assert len(notes) == 1
    assert not path.exists()


def test_a_tree_is_there_when_it_is_whole(store: DiskStore) -> None:
    assert store.folder("kind", "key") is None
    with store.make_folder("kind", "key") as path:
        (Path(path) / "file").write_text("1")
        assert store.folder("kind", "key") is None
    kept = store.folder("kind", "key")
    assert kept is not None
    assert (Path(kept) / "file").read_text() == "1"
    with store.make_folder("kind", "key") as path:
        (Path(path) / "file").write_text("2")
    assert (Path(kept) / "file").read_text() == "1", "another run may be using it"
    with pytest.raises(ZeroDivisionError), store.make_folder("kind", "other") as path:
        (Path(path) / "sub").mkdir(mode=0o500)
        1 / 0  # noqa: B018
    assert store.folder("kind", "other") is None
    assert pending(store) == []


# ours alone


def test_its_folders_are_ours_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = DiskStore(tmp_path / "new" / "store")
        store.put("kind", "key", b"")
        with store.make_folder("kind", "key"):
            pass
        digest = put(store)
    finally:
        os.umask(before)
    folders = [store.path, *(path for path in store.path.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o022 for path in folders} == {0}
    assert not (store.path / "blobs/sha256" / digest.hex).stat().st_mode & 0o022


@pytest.mark.parametrize("name", [".", "blobs", "blobs/sha256", "maps", "trees", "tmp"])
@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_what_others_may_write_to_is_refused(store: DiskStore, name: str, mode: int) -> None:
    path = (store.path / name).resolve()
    path.chmod(mode)
    with pytest.raises(StoreError, match="may be written by other users") as caught:
        DiskStore(store.path)
    assert caught.value.where == str(path)
    assert f"chmod go-w {path}" in str(caught.value.hint)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", [".", "blobs/sha256", "maps"])
def test_what_belongs_to_another_user_is_refused(store: DiskStore, name: str) -> None:
    os.chown(store.path / name, 65534, 65534)
    with pytest.raises(StoreError, match="another user"):
        DiskStore(store.path)


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used"):
        DiskStore(tmp_path / "file")
    with pytest.raises(StoreError, match="cannot be used"):
        DiskStore(tmp_path / "file" / "below")


def test_where_nothing_can_be_made_is_refused() -> None:
    with pytest.raises(StoreError, match="cannot be used"):
        DiskStore(Path("/proc/dpbuild"))


# a full disk


def test_a_full_disk_leaves_nothing(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="the disk is full") as caught, store.writer() as writer:
        monkeypatch.setattr(Path, "replace", full)
        writer.write(DATA)
        writer.commit()
    assert "--cache-dir" in str(caught.value.hint)
    with pytest.raises(StoreError, match="the disk is full"):
        store.put("kind", "key", b"value")
    monkeypatch.undo()
    assert pending(store) == []
    assert store.get("kind", "key") is None


def test_trees_with_closed_folders_can_be_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").write_text("")
    (tree / "link").symlink_to(tmp_path)
    (tree / "a/b").chmod(0o500)
    (tree / "a").chmod(0o500)
    remove_tree(tree)
    assert not tree.exists()
    assert tmp_path.exists()
