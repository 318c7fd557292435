"""From a layout to a base: platforms, what is kept, and everything that can be wrong with an image."""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from factories.image import Layout, MadeImage, make_image, make_tar, on, tagged
from factories.python_image import PATH, Notes, debian

from dpbuild.adapters.source.layout import LayoutSource
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import BaseImageError, StoreError
from dpbuild.model.base import Base
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import LayoutReference
from dpbuild.stages import base as stage
from dpbuild.stages.base import read_base
from dpbuild.stages.contents import LayerContents
from dpbuild.stages.open_image import open_image, platforms

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
CONFIG: dict[str, object] = {"Env": [PATH], "Entrypoint": ["/usr/bin/python3.13"], "User": "65532"}


class Counting:
    """A source that counts what it is asked for."""

    def __init__(self, path: Path) -> None:
        self._inner = LayoutSource(LayoutReference(path=str(path)))
        self.asked: list[str] = []

    def resolve(self) -> tuple[Descriptor, bytes]:
        return self._inner.resolve()

    def manifest(self, descriptor: Descriptor) -> bytes:
        self.asked.append(descriptor.media_type.rpartition(".")[2])
        return self._inner.manifest(descriptor)

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        self.asked.append("layer")
        return self._inner.blob(descriptor)


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture
def image(tmp_path: Path) -> MadeImage:
    return make_image(tmp_path / "image", *debian(), config=CONFIG)


def read(path: Path, store: DiskStore, platform: Platform = AMD64, notes: Notes | None = None) -> Base:
    return read_base(LayoutReference(path=str(path)), Counting(path), platform, store, notes or Notes())


def test_the_whole_base(image: MadeImage, store: DiskStore) -> None:
    found = read(image.path, store)

    assert (found.root.digest, found.descriptor.digest) == (image.root.digest, image.root.digest)
    assert found.manifest.layers == image.layers
    assert found.config.user == "65532"
    assert (found.facts.version, found.facts.libc.version) == ("3.13.5", (2, 41))
    assert found.tree.resolve("/bin/python3") == "usr/bin/python3.13"
    assert all(store.has(row.digest) for row in image.layers)


def test_the_second_time_nothing_is_read(image: MadeImage, store: DiskStore) -> None:
    first = read(image.path, store)
    again, notes = Counting(image.path), Notes()
    for row in image.layers:
        (store.path / "blobs" / "sha256" / row.digest.hex).unlink()

    second = read_base(LayoutReference(path=str(image.path)), again, AMD64, store, notes)

    assert (second, second.tree) == (first, first.tree)
    assert (again.asked, notes.steps) == ([], [])


def test_facts_of_another_version_are_made_again(
    image: MadeImage, store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(image.path, store)
    monkeypatch.setattr(stage, "FORMAT", "other")
    notes = Notes()

    assert read(image.path, store, notes=notes) == first
    assert notes.steps == ["reading the base"]


def test_facts_that_cannot_be_read_are_made_again(image: MadeImage, store: DiskStore) -> None:
    first = read(image.path, store)
    for damaged in (b"", b"\0\0\0\2{}", b"\xff\xff\xff\xff", b"\0\0\0\2{}" + first.tree.to_bytes()):
        store.put("facts", f"{image.root.digest.hex}-{stage.FORMAT}", damaged)
        assert read(image.path, store) == first


def test_a_damaged_layer_in_the_store_is_fetched_again(image: MadeImage, tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "store")
    reference = LayoutReference(path=str(image.path))
    stage.fetch_layers(LayoutSource(reference), image.layers, store, Notes())
    (store.path / "blobs" / "sha256" / image.layers[1].digest.hex).write_bytes(b"x")

    assert read(image.path, DiskStore(tmp_path / "store")).facts.version == "3.13.5"


def test_equal_layers_are_fetched_once(tmp_path: Path, store: DiskStore) -> None:
    layers = debian()
    path = make_image(tmp_path / "twice", layers[0], *layers, layers[0], config=CONFIG).path
    source = Counting(path)

    read_base(LayoutReference(path=str(path)), source, AMD64, store, Notes())

    assert source.asked.count("layer") == 3


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("compress", [False, True])
def test_docker_and_oci_media_types(docker: bool, compress: bool, tmp_path: Path, store: DiskStore) -> None:
    image = make_image(tmp_path / "x", *debian(), config=CONFIG, docker=docker, compress=compress)

    assert read(image.path, store).facts.machine == "x86_64"


# Platforms


def make_index(path: Path, *, docker: bool = False) -> dict[str, Descriptor]:
    """An index as BuildKit pushes it: two platforms, and attestations for both."""
    layout = Layout(path)
    amd64, _ = layout.image(*debian(), config=CONFIG, docker=docker)
    arm64, _ = layout.image(*debian(machine="aarch64"), config=CONFIG, platform="linux/arm64", docker=docker)
    said, _ = layout.image({"in-toto": "{}"}, platform="unknown/unknown")
    mark = {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    index = layout.index(
        (said, on("unknown/unknown") | mark), (amd64, on("linux/amd64")), (arm64, on("linux/arm64/v8")), docker=docker
    )
    layout.finish((index, tagged("latest")))
    return {"index": index, "amd64": amd64, "arm64": arm64}


@pytest.mark.parametrize("docker", [False, True])
def test_an_index_gives_the_platform_that_is_asked_for(docker: bool, tmp_path: Path, store: DiskStore) -> None:
    made = make_index(tmp_path / "x", docker=docker)

    amd64, arm64 = (read(tmp_path / "x", store, platform) for platform in (AMD64, ARM64))

    assert (amd64.root.digest, arm64.root.digest) == (made["index"].digest, made["index"].digest)
    assert (amd64.descriptor.digest, arm64.descriptor.digest) == (made["amd64"].digest, made["arm64"].digest)
    assert (amd64.facts.machine, arm64.facts.machine) == ("x86_64", "aarch64")


def test_a_platform_that_is_not_in_the_index_is_20_and_names_those_that_are(tmp_path: Path, store: DiskStore) -> None:
    make_index(tmp_path / "x")
    with pytest.raises(BaseImageError, match=r"no image for linux/s390x, only for linux/amd64, linux/arm64") as problem:
        read(tmp_path / "x", store, Platform("linux", "s390x"))

    assert problem.value.exit_code == 20
    assert "unknown" not in problem.value.what
    assert problem.value.hint == "say one of them with --platform, or name another image"


def test_the_platform_of_a_single_image_counts_too(image: MadeImage, store: DiskStore) -> None:
    with pytest.raises(BaseImageError, match=r"no image for linux/arm64, only for linux/amd64") as problem:
        read(image.path, store, ARM64)
    assert problem.value.hint == "say --platform linux/amd64, or name another image"


def test_the_platforms_that_there_are(image: MadeImage, tmp_path: Path, store: DiskStore) -> None:
    make_index(tmp_path / "x")
    for path, expected in ((tmp_path / "x", (AMD64, ARM64)), (image.path, (AMD64,))):
        reference = LayoutReference(path=str(path))
        assert platforms(reference, LayoutSource(reference), store) == expected


def test_an_index_in_an_index(tmp_path: Path, store: DiskStore) -> None:
    layout = Layout(tmp_path / "x")
    manifest, _ = layout.image(*debian(), config=CONFIG)
    row = (layout.index((manifest, on("linux/amd64"))), on("linux/amd64"))
    layout.finish((layout.index(row), {}))
    assert read(tmp_path / "x", store).descriptor.digest == manifest.digest

    for _ in range(3):
        row = (layout.index(row), on("linux/amd64"))
    layout.finish((layout.index(row), {}))
    with pytest.raises(BaseImageError, match="index in an index"):
        read(tmp_path / "x", store)


def test_platforms_that_the_index_leaves_out_are_in_the_configs(tmp_path: Path, store: DiskStore) -> None:
    layout = Layout(tmp_path / "x")
    manifest, _ = layout.image(*debian(), config=CONFIG)
    other, _ = layout.image(*debian(machine="aarch64"), config=CONFIG, platform="linux/arm64")
    layout.finish((layout.index((other, {}), (manifest, {})), {}))

    assert read(tmp_path / "x", store).descriptor.digest == manifest.digest


# What is wrong with it


def test_no_python_names_the_image(tmp_path: Path, store: DiskStore) -> None:
    path = make_image(tmp_path / "x", {"bin/app": "x"}, config={"Entrypoint": ["/bin/app"]}).path
    with pytest.raises(BaseImageError, match="there is no Python in the base") as problem:
        read(path, store)

    assert problem.value.where == f"oci:{path}"
    assert store.get("facts", f"{image_digest(path)}-{stage.FORMAT}") is None


def image_digest(path: Path) -> str:
    return str(json.loads((path / "index.json").read_text())["manifests"][0]["digest"]).removeprefix("sha256:")


def broken(path: Path, change: str) -> Path:
    """A layout whose manifest or config says something else than its layers are."""
    layout = Layout(path)
    tar = make_tar({"a": "x"})
    layer = layout.put(gzip.compress(tar, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
    row = {"mediaType": layer.media_type, "digest": str(layer.digest), "size": layer.size}
    diff_ids = [f"sha256:{hashlib.sha256(tar).hexdigest()}"]
    match change:
        case "diff id":
            diff_ids = ["sha256:" + "0" * 64]
        case "count":
            diff_ids *= 2
        case "type":
            row["mediaType"] = "application/vnd.oci.image.layer.v1.tar+encrypted"
        case "larger" | "smaller":
            row["size"] = layer.size + (1 if change == "larger" else -1)
        case "many":
            diff_ids *= 300
    document = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    kind = "application/vnd.oci.image.config.v1+json"
    config = layout.put(b"[" if change == "config" else json.dumps(document).encode(), kind)
    layers = [row] * (300 if change == "many" else 1)
    described = {"mediaType": kind, "digest": str(config.digest), "size": config.size}
    manifest = layout.json(
        {"schemaVersion": 2, "layers": layers, "config": 7 if change == "manifest" else described},
        "application/vnd.oci.image.manifest.v1+json",
    )
    layout.finish((manifest, {}))
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("diff id", "but the config's diffID is sha256:0000"),
        ("count", "has 1 layers, its config 2"),
        ("type", r"tar\+encrypted are not supported"),
        ("larger", "should have|has fewer"),
        ("smaller", "should have|has more"),
        ("many", "300 layers"),
        ("config", "config .* cannot be read"),
        ("manifest", "manifest .* cannot be read"),
    ],
)
def test_an_image_that_contradicts_itself(change: str, said: str, tmp_path: Path, store: DiskStore) -> None:
    with pytest.raises(BaseImageError, match=said):
        read(broken(tmp_path / "x", change), store)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (b"no tar".ljust(1024, b"."), "a layer cannot be read"),
        (make_tar({"../../etc/passwd": "x"}), "leads out"),
        (make_tar({"a": "x", "a/b": "x"}), "do not fit on each other"),
    ],
)
def test_a_hostile_layer_is_20_and_names_the_image(layer: bytes, said: str, tmp_path: Path, store: DiskStore) -> None:
    path = make_image(tmp_path / "x", layer).path
    with pytest.raises(BaseImageError, match=said) as problem:
        read(path, store)

    assert (problem.value.where, problem.value.exit_code) == (f"oci:{path}", 20)


def test_a_layer_whose_bytes_changed_on_the_way_is_not_kept(image: MadeImage, store: DiskStore) -> None:
    layer = image.layers[1]
    data = bytearray(image.blob(layer).read_bytes())
    data[-1] ^= 1
    image.blob(layer).write_bytes(data)
    with pytest.raises(BaseImageError, match="damaged"):
        read(image.path, store)

    assert not store.has(layer.digest)
    assert list((store.path / "tmp").iterdir()) == []


def test_a_lying_source_is_found_out(image: MadeImage, store: DiskStore) -> None:
    """The stage does not trust a source to have verified anything."""

    class Liar(Counting):
        def manifest(self, descriptor: Descriptor) -> bytes:
            return b"{}"

    reference = LayoutReference(path=str(image.path))
    with pytest.raises(BaseImageError, match="was damaged or changed"):
        open_image(reference, Liar(image.path), AMD64, store)

    class Swapper(Counting):
        def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
            yield bytes(descriptor.size)

    with pytest.raises(BaseImageError, match="not what its digest says"):
        read_base(reference, Swapper(image.path), AMD64, store, Notes())

    class Endless(Counting):
        def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
            while True:
                yield b"x" * 1000

    with pytest.raises(BaseImageError, match="has more than the"):
        read_base(reference, Endless(image.path), AMD64, store, Notes())


def test_errors_of_the_store_pass_through(image: MadeImage, store: DiskStore) -> None:
    class Full(Counting):
        def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
            raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="disk is full"):
        read_base(LayoutReference(path=str(image.path)), Full(image.path), AMD64, store, Notes())


# Contents


def test_contents_are_those_of_the_winning_layer(tmp_path: Path, store: DiskStore) -> None:
    from factories.image import Hard, Link

    image = make_image(
        tmp_path / "x",
        {"a": "old", "b": Hard("a"), "c": "c"},
        {"a": "new", "l": Link("/a"), "m": Link("b"), "d/": Link("x")},
    )
    reference = LayoutReference(path=str(image.path))
    stage.fetch_layers(LayoutSource(reference), image.layers, store, Notes())
    opened = open_image(reference, LayoutSource(reference), AMD64, store)
    tree, nothing = stage.read_tree(opened.manifest.layers, opened.config, store)
    assert nothing == {}
    contents = LayerContents(tree, opened.manifest.layers, store)

    contents.prefetch(["a", "nothing", "l"])
    assert [contents.get(path) for path in ("a", "/l", "b", "m", "c", "nothing")] == [
        b"new", b"new", b"old", b"old", b"c", None]  # fmt: skip
    with pytest.raises(BaseImageError, match="at most 2 were expected"):
        contents.get("a", 2)


def test_contents_fetch_a_layer_that_is_gone(image: MadeImage, store: DiskStore) -> None:
    found = read(image.path, store)
    for row in image.layers:
        (store.path / "blobs" / "sha256" / row.digest.hex).unlink()
    source = LayoutSource(found.reference)  # type: ignore[arg-type]

    with pytest.raises(BaseImageError, match="missing in the store"):
        LayerContents(found.tree, image.layers, store).get("etc/os-release")
    contents = LayerContents(
        found.tree, image.layers, store, lambda row: stage.fetch_layers(source, (row,), store, Notes())
    )
    assert b"Distroless" in (contents.get("etc/os-release") or b"")
    assert [store.has(row.digest) for row in image.layers] == [True, False, False]


def test_what_facts_need_is_taken_along(tmp_path: Path, store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer is inflated once for its entries and for the contents that the facts are told from."""
    again: list[object] = []
    inner = LayerContents._read

    def counted(self: LayerContents, layer: int, sizes: Mapping[int, int]) -> None:
        again.append(sizes)
        inner(self, layer, sizes)

    monkeypatch.setattr(LayerContents, "_read", counted)
    image = make_image(tmp_path / "x", *debian())
    base = read_base(LayoutReference(path=str(image.path)), Counting(image.path), AMD64, store, Notes())
    assert base.facts.packages
    assert again == []


def test_what_is_taken_along_has_its_limit(tmp_path: Path, store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_TAKEN", 20)
    image = make_image(tmp_path / "x", {"a": "1234567", "b": "12345678", "c": "123"}, {"a": "new", "d": "x"})
    reference = LayoutReference(path=str(image.path))
    stage.fetch_layers(LayoutSource(reference), image.layers, store, Notes())
    opened = open_image(reference, LayoutSource(reference), AMD64, store)
    tree, known = stage.read_tree(opened.manifest.layers, opened.config, store, lambda path: path != "d")
    assert known == {(0, 0): b"1234567", (0, 2): b"123", (1, 0): b"new"}
    contents = LayerContents(tree, opened.manifest.layers, store, known=known)
    assert [contents.get(path) for path in "abcd"] == [b"new", b"12345678", b"123", b"x"]
