"""Reading one file of a layer without what is before it."""

import io
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from factories.base import make_base
from factories.wheel import make_wheel

from dpbuild.adapters.reporter import StreamReporter
from dpbuild.adapters.store import DiskStore
from dpbuild.archive import read as tar
from dpbuild.archive.overlay import FileTree
from dpbuild.model.artifact import Artifact
from dpbuild.model.layer import Layer
from dpbuild.stages import contents as module
from dpbuild.stages import places
from dpbuild.stages.contents import LayerContents, read_layer
from dpbuild.stages.layers.make import make_layers
from dpbuild.stages.layers.site import Site

FILES = {
    "pkg/__init__.py": "import os\n" * 1000,
    "pkg/empty.py": "",
    "pkg/large.bin": os.urandom(300_000),
    "pkg/last.py": "x = 1\n" * 50_000,
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    found = DiskStore(tmp_path / "store")
    yield found
    found.close()


@pytest.fixture
def layer(store: DiskStore) -> Layer:
    filename, data = make_wheel("pkg", "1.0", files=FILES)
    with store.writer() as writer:
        writer.write(data)
        digest, size = writer.commit()
    artifact = Artifact(name="pkg", version="1.0", filename=filename, digest=digest, size=size)
    quiet = StreamReporter(io.StringIO(), lambda: 0.0, "none")
    (made,) = make_layers([artifact], Site(make_base()), store, quiet, taken=50).layers
    return made


def tree_of(store: DiskStore, layer: Layer) -> FileTree:
    return FileTree.of([read_layer(layer.descriptor, store, lambda rows: [entry for entry, _ in rows])])


def test_every_file_is_the_one_that_reading_all_finds(store: DiskStore, layer: Layer) -> None:
    tree = tree_of(store, layer)
    known = places.recall(store, layer.descriptor)
    assert len(known) >= 3
    contents = LayerContents(tree, (layer.descriptor,), store)
    with store.open(layer.descriptor.digest) as blob:
        stream, _ = tar.open_layer(blob, limit=1 << 30)
        for entry, content in tar.entries(stream):
            if content is not None:
                assert contents.get(f"/{entry.path}") == content.read(), entry.path


def test_nothing_before_it_is_read(store: DiskStore, layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tree_of(store, layer)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the layer was read from its beginning")

    monkeypatch.setattr(module, "open_layer", never)
    contents = LayerContents(tree, (layer.descriptor,), store)
    paths = [path for path in tree.paths() if path.endswith((".py", ".bin"))]
    contents.prefetch(paths)
    found = {path.rpartition("/")[2]: contents.get(path) for path in paths}
    assert found == {
        name.rpartition("/")[2]: data if isinstance(data, bytes) else data.encode() for name, data in FILES.items()
    }


def test_a_layer_is_opened_once_for_all_that_is_wanted_soon(
    store: DiskStore, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tree_of(store, layer)
    contents = LayerContents(tree, (layer.descriptor,), store)
    paths = [path for path in tree.paths() if path.endswith((".py", ".bin"))]
    opened: list[object] = []
    inner = module.opened
    monkeypatch.setattr(module, "opened", lambda *given: opened.append(given) or inner(*given))
    contents.prefetch(paths)
    assert all(contents.get(path) is not None for path in paths)
    assert (len(paths), len(opened)) == (len(FILES), 1)


@pytest.mark.parametrize("wrong", ["offset", "size", "nonsense"])
def test_places_that_are_wrong_are_of_no_consequence(store: DiskStore, layer: Layer, wrong: str) -> None:
    tree = tree_of(store, layer)
    known = places.recall(store, layer.descriptor)
    if wrong == "nonsense":
        store.put("facts", places._key(layer.descriptor), b"nonsense")
    else:
        places.keep(store, layer.descriptor, dict.fromkeys(known, layer.descriptor.size - 3))
    contents = LayerContents(tree, (layer.descriptor,), store)
    path = next(path for path in tree.paths() if path.endswith("last.py"))
    assert contents.get(path) == str(FILES["pkg/last.py"]).encode()


def test_a_layer_from_elsewhere_has_none(store: DiskStore, layer: Layer) -> None:
    other = replace(layer.descriptor, digest=replace(layer.descriptor.digest, hex="0" * 64))
    assert places.recall(store, other) == {}
