"""Images of an engine, by an engine that writes down what it is asked."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import docker.errors
import pytest
from factories.image import docker_archive
from factories.python_image import PATH, Notes, debian

from dpbuild.adapters.source.daemon import DaemonSource
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import BaseImageError, NotFound, SandboxError, StoreError
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import DaemonReference
from dpbuild.stages.base import fetch_layers, read_base

AMD64 = Platform("linux", "amd64")
CONFIG: dict[str, object] = {"Env": [PATH], "Entrypoint": ["/usr/bin/python3.13"]}
REFERENCE = DaemonReference(name="app:1")


class Engine:
    """Has one image under one name; ``id`` is what it says the image's id is."""

    def __init__(self, archive: bytes) -> None:
        self.archive, self.id = archive, "sha256:" + "a" * 64
        self.exports: list[str] = []
        self.open = 0

    def connect(self) -> "Engine":
        self.open += 1
        return self

    def close(self) -> None:
        self.open -= 1

    def inspect_image(self, name: str) -> dict[str, str]:
        if name != "app:1":
            raise docker.errors.ImageNotFound(name)
        return {"Id": self.id}

    def get_image(self, name: str) -> Iterator[bytes]:
        self.exports.append(name)
        for start in range(0, len(self.archive), 100_000):
            yield self.archive[start : start + 100_000]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(docker_archive(tmp_path / "saved.tar", *debian(), config=CONFIG).read_bytes())


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


def source(engine: Engine, store: DiskStore, name: str = "app:1") -> DaemonSource:
    return DaemonSource(DaemonReference(name=name), engine.connect, store, Notes())


def test_it_is_exported_once_and_by_its_id(engine: Engine, store: DiskStore) -> None:
    first = source(engine, store)
    found = read_base(REFERENCE, first, AMD64, store, Notes())
    assert found.facts.version == "3.13.5"
    assert engine.exports == [engine.id]
    # Known by its id, it is not exported again.
    again = source(engine, store)
    assert read_base(REFERENCE, again, AMD64, store, Notes()).descriptor == found.descriptor
    assert fetch_layers(again, found.manifest.layers, store, Notes()) == 0
    assert engine.exports == [engine.id]
    assert engine.open == 0


def test_the_file_is_gone_with_the_source(engine: Engine, store: DiskStore) -> None:
    made = source(engine, store)
    made.resolve()
    (file,) = (store.path / "tmp").iterdir()
    assert file.stat().st_size == len(engine.archive)
    assert file.stat().st_mode & 0o777 == 0o600
    del made
    assert list((store.path / "tmp").iterdir()) == []


def test_a_layer_that_the_store_lost_is_exported_again(engine: Engine, store: DiskStore) -> None:
    found = read_base(REFERENCE, source(engine, store), AMD64, store, Notes())
    for layer in found.manifest.layers:
        (store.path / "blobs/sha256" / layer.digest.hex).unlink(missing_ok=True)
    again = source(engine, DiskStore(store.path))
    fetch_layers(again, found.manifest.layers, store, Notes())
    assert all(store.has(layer.digest) for layer in found.manifest.layers)
    assert len(engine.exports) == 2


def test_another_image_under_the_name_is_another_base(engine: Engine, store: DiskStore, tmp_path: Path) -> None:
    first = source(engine, store).resolve()[0]
    layers = debian()
    engine.archive = docker_archive(tmp_path / "other.tar", *layers, {"etc/new": "x"}, config=CONFIG).read_bytes()
    engine.id = "sha256:" + "b" * 64
    assert source(engine, store).resolve()[0] != first


def test_an_image_that_is_not_there(engine: Engine, store: DiskStore) -> None:
    with pytest.raises(NotFound, match="no such image") as caught:
        source(engine, store, "other").resolve()
    assert caught.value.where == "docker-daemon:other"
    assert engine.open == 0


def broken(problem: Exception) -> Callable[[str], Iterator[bytes]]:
    def get_image(name: str) -> Iterator[bytes]:
        yield b"x" * 1000
        raise problem

    return get_image


@pytest.mark.parametrize(
    ("problem", "error", "words"),
    [
        (ConnectionResetError("gone"), SandboxError, "connection to it broke: gone"),
        (docker.errors.APIError("no space left"), SandboxError, "does not give the image: no space left"),
        (docker.errors.ImageNotFound("gone"), NotFound, "no such image"),
    ],
)
def test_an_export_that_breaks(
    engine: Engine, store: DiskStore, problem: Exception, error: type[Exception], words: str
) -> None:
    engine.get_image = broken(problem)  # type: ignore[method-assign]
    made = source(engine, store)
    with pytest.raises(error, match=words):
        made.resolve()
    assert list((store.path / "tmp").iterdir()) == []
    assert engine.open == 0


def test_half_an_export_is_no_image(engine: Engine, store: DiskStore) -> None:
    engine.archive = engine.archive[: len(engine.archive) // 2]
    with pytest.raises(BaseImageError) as caught:
        source(engine, store).resolve()
    assert store.get("bases", f"docker-daemon 1 {engine.id}") is None
    assert caught.value.exit_code == 20


def test_a_full_disk_is_the_stores_error(engine: Engine, store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *problem: object) -> None:
            pass

        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dpbuild.adapters.source.daemon.os.fdopen", lambda *_: Full())
    with pytest.raises(StoreError, match="disk is full"):
        source(engine, store).resolve()
