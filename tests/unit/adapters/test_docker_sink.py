"""What is asked of an engine, by a client that writes it down."""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import docker.errors
import pytest

from dpbuild.adapters.sink.docker import DockerSink
from dpbuild.errors import SandboxError
from dpbuild.model.image import Image, Images
from dpbuild.oci import mediatype
from dpbuild.oci.codec import encode_manifest
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import parse, parse_registry

AMD64 = Platform("linux", "amd64")


class Engine:
    """An engine that knows images by id."""

    def __init__(self, *, containerd: bool = False, refuses: str = "", forgets: bool = False) -> None:
        self.known: set[str] = set()
        self.names: dict[str, str] = {}
        self.loads: list[dict[str, bytes]] = []
        self.containerd, self.refuses, self.forgets = containerd, refuses, forgets
        self.open = 0

    def connect(self) -> "Engine":
        self.open += 1
        return self

    def close(self) -> None:
        self.open -= 1

    def version(self) -> dict[str, str]:
        return {"Os": "linux", "Arch": "arm64"}

    def inspect_image(self, name: str) -> dict[str, str]:
        if name not in self.known:
            raise docker.errors.ImageNotFound(name)
        return {"Id": name}

    def load_image(self, chunks: Iterable[bytes]) -> Iterator[dict[str, str]]:
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
            files = {row.name: tar.extractfile(row).read() for row in tar if row.isfile()}  # type: ignore[union-attr]
        self.loads.append(files)
        if self.refuses:
            yield {"error": self.refuses}
            return
        (row,) = json.loads(files["manifest.json"])
        (described,) = json.loads(files["index.json"])["manifests"]
        if not self.forgets:
            config = "sha256:" + row["Config"].rpartition("/")[2]
            self.known.add(described["digest"] if self.containerd else config)
        yield {"stream": "Loaded image"}

    def tag(self, image: str, name: str, tag: str, *, force: bool) -> None:
        assert image in self.known
        assert force
        self.names[f"{name}:{tag}"] = image


class Notes:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)

    @contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator[Any]:
        yield None


LAYERS: dict[Digest, bytes] = {}


def image(platform: str, *layers: bytes) -> Image:
    config = json.dumps({"architecture": platform}).encode()
    rows = []
    for data in layers:
        LAYERS[Digest.of(data)] = data
        rows.append(Descriptor(media_type=mediatype.OCI_LAYER_GZIP, digest=Digest.of(data), size=len(data)))
    described = Descriptor(media_type=mediatype.OCI_CONFIG, digest=Digest.of(config), size=len(config))
    manifest = Manifest(media_type=mediatype.OCI_MANIFEST, config=described, layers=tuple(rows))
    data = encode_manifest(manifest)
    return Image(
        platform=Platform.parse(platform),
        descriptor=Descriptor(media_type=mediatype.OCI_MANIFEST, digest=Digest.of(data), size=len(data)),
        manifest=manifest,
        manifest_bytes=data,
        config_bytes=config,
        base=parse("example.org/base:1"),
        base_layers=0,
    )


def images(*made: Image) -> Images:
    return Images(descriptor=made[0].descriptor, images=made, index_bytes=b"{}" if len(made) > 1 else b"")


def sink(engine: Engine, *tags: str, notes: Notes | None = None) -> DockerSink:
    rows = tuple(parse_registry(tag) for tag in tags)
    return DockerSink(engine.connect, rows, lambda row: io.BytesIO(LAYERS[row.digest]), AMD64, notes or Notes())


@pytest.mark.parametrize("containerd", [False, True])
def test_it_is_loaded_once_and_named(containerd: bool) -> None:
    engine = Engine(containerd=containerd)
    made = image("linux/amd64", b"first", b"second!")
    written = sink(engine, "example.org/a:1", "b").write(images(made))
    known = made.descriptor.digest if containerd else made.manifest.config.digest
    assert written.reference == f"docker-daemon:{known}"
    assert engine.names == {"example.org/a:1": str(known), "docker.io/library/b:latest": str(known)}
    assert (written.sent, written.present) == (12, 0)
    again = sink(engine, "example.org/c:1").write(images(made))
    assert (again.sent, again.present, len(engine.loads)) == (0, 12, 1)
    assert engine.names["example.org/c:1"] == str(known)
    assert engine.open == 0


def test_of_several_platforms_the_engines_own_is_loaded_and_that_is_said() -> None:
    engine, notes = Engine(), Notes()
    amd64, arm64 = image("linux/amd64", b"a"), image("linux/arm64", b"b")
    written = sink(engine, notes=notes).write(images(amd64, arm64))
    assert written.platforms == (Platform("linux", "arm64"),)
    assert written.descriptor == arm64.descriptor
    assert {name for name in engine.loads[0] if name.startswith("blobs")} == {
        f"blobs/sha256/{digest.hex}"
        for digest in (arm64.descriptor.digest, arm64.manifest.config.digest, Digest.of(b"b"))
    }
    assert notes.texts == ["of several platforms the engine's own is loaded: linux/arm64"]


@pytest.mark.parametrize("engine", [Engine(refuses="no space left"), Engine(forgets=True)])
def test_an_engine_that_does_not_take_it(engine: Engine) -> None:
    with pytest.raises(SandboxError, match=r"no space left|does not know it"):
        sink(engine, "a").write(images(image("linux/amd64", b"a")))
    assert engine.names == {}
    assert engine.open == 0


def test_a_connection_that_breaks_is_our_error() -> None:
    class Broken(Engine):
        def version(self) -> dict[str, str]:
            raise ConnectionResetError("gone")

    with pytest.raises(SandboxError, match="connection to it broke: gone"):
        sink(Broken()).write(images(image("linux/amd64", b"a")))
