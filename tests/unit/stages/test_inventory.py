"""Inventories of layers: what is taken, what is kept, and what a damaged entry costs."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories.image import make_image

from dpbuild.adapters.store import DiskStore
from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.errors import BaseImageError
from dpbuild.stages.inventory import Inventory, InventoryContents, Watch, inventories, keep

FILES = {
    "site/a-1.dist-info/METADATA": "Name: a\n",
    "site/a-1.dist-info/RECORD": "a.py,,\n",
    "site/a-1.dist-info/sboms/x/y.json": "{}",
    "site/a.py": "x = 1\n",
    "site/METADATA": "not one",
    "var/lib/dpkg/status.d/libx": "Package: libx\n",
    "var/lib/dpkg/status.d/libx.md5sums": "00  usr/lib/x\n",
    "etc/os-release": "ID=debian\n",
}
KEPT = {path for path in FILES if path not in ("site/a.py", "site/METADATA", "var/lib/dpkg/status.d/libx.md5sums")}


def rows() -> Iterator[tuple[Entry, io.BytesIO | None]]:
    yield Entry(path="site", kind=Kind.DIRECTORY, mode=0o755), None
    for path, text in FILES.items():
        yield Entry(path=path, kind=Kind.FILE, mode=0o644, size=len(text)), io.BytesIO(text.encode())


@pytest.mark.parametrize("read", [0, 3, -1])
def test_it_is_whole_however_much_others_read(read: int) -> None:
    """``read`` bytes of each content are read by whoever takes the entries."""
    watch = Watch()
    for _, content in watch.over(rows()):  # type: ignore[arg-type]
        if content is not None and read:
            content.read(read)
    order = ["site", *FILES]
    assert {order[number]: text for number, text in watch.inventory.hashes.items()} == {
        path: hashlib.sha256(text.encode()).hexdigest() for path, text in FILES.items()
    }
    assert {order[number]: data for number, data in watch.inventory.contents.items()} == {
        path: FILES[path].encode() for path in KEPT
    }


def test_it_is_kept_by_the_layer(tmp_path: Path) -> None:
    image = make_image(tmp_path / "image", dict(FILES))
    store = DiskStore(tmp_path / "store")
    fetched = []

    def fetch(layer: object) -> None:
        fetched.append(layer)
        with store.writer() as writer:
            writer.write(image.blob(image.layers[0]).read_bytes())
            writer.commit()

    first = inventories(image.layers, store, fetch)
    assert len(fetched) == 1
    (tmp_path / "store/blobs/sha256" / image.layers[0].digest.hex).unlink()
    assert inventories(image.layers, store, fetch) == first
    assert len(fetched) == 1
    # What cannot be read is made again.
    (path,) = (tmp_path / "store/maps/facts").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert inventories(image.layers, store, fetch) == first
    assert len(fetched) == 2


def test_an_entry_of_another_form_is_made_again(tmp_path: Path) -> None:
    image = make_image(tmp_path / "image", dict(FILES))
    store = DiskStore(tmp_path / "store")
    with store.writer() as writer:
        writer.write(image.blob(image.layers[0]).read_bytes())
        writer.commit()
    (made,) = inventories(image.layers, store, pytest.fail)
    keep(store, image.layers[0], Inventory({0: "00" * 32}, {0: b"x"}))
    (other,) = inventories(image.layers, store, pytest.fail)
    assert other == Inventory({0: "00" * 32}, {0: b"x"})
    (path,) = (tmp_path / "store/maps/facts").iterdir()
    for data in (b"", b"\0\0\0\x02[]", b"\0\0\0\x09[[0],[]]\n"):
        path.write_bytes(hashlib.sha256(data).digest() + data)
        assert inventories(image.layers, store, pytest.fail) == (made,)


def test_contents_through_links_and_limits() -> None:
    entries = [
        Entry(path="usr/lib/os-release", kind=Kind.FILE, mode=0o644, size=3),
        Entry(path="etc/os-release", kind=Kind.SYMLINK, mode=0o777, target="../usr/lib/os-release"),
        Entry(path="x", kind=Kind.FILE, mode=0o644, size=1),
    ]
    tree = FileTree.of([entries])
    contents = InventoryContents(tree, (Inventory({0: "ab", 2: "cd"}, {0: b"ID="}),))
    assert contents.get("/etc/os-release") == b"ID="
    assert contents.sha256("/etc/os-release") == "ab"
    assert contents.get("/x") is None
    assert contents.get("/none") is None
    with pytest.raises(BaseImageError, match="3 bytes"):
        contents.get("/etc/os-release", 2)
