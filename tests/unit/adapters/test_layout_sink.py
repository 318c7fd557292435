"""Folders and archives: the old image or the new one, whole, and nothing half-written."""

import dataclasses
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dpbuild.adapters.sink.archive import ArchiveSink
from dpbuild.adapters.sink.layout import LayoutSink
from dpbuild.errors import OutputError, StoreError
from dpbuild.model.image import Image, Images
from dpbuild.oci import mediatype
from dpbuild.oci.codec import encode_index, encode_manifest
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Index, Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import RegistryReference, parse


class Blobs:
    """Layers by digest."""

    def __init__(self) -> None:
        self.data: dict[Digest, bytes] = {}
        self.opened: list[Digest] = []
        self.trouble: Exception | None = None

    def layer(self, data: bytes) -> Descriptor:
        self.data[Digest.of(data)] = data
        return Descriptor(media_type=mediatype.OCI_LAYER_GZIP, digest=Digest.of(data), size=len(data))

    def __call__(self, descriptor: Descriptor) -> io.BytesIO:
        self.opened.append(descriptor.digest)
        if self.trouble is not None:
            raise self.trouble
        return io.BytesIO(self.data[descriptor.digest])


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


def image(blobs: Blobs, *layers: bytes, platform: str = "linux/amd64", config: bytes = b"{}") -> Image:
    manifest = Manifest(
        media_type=mediatype.OCI_MANIFEST,
        config=Descriptor(media_type=mediatype.OCI_CONFIG, digest=Digest.of(config), size=len(config)),
        layers=tuple(blobs.layer(data) for data in layers),
    )
    data = encode_manifest(manifest)
    return Image(
        platform=Platform.parse(platform),
        descriptor=Descriptor(media_type=manifest.media_type, digest=Digest.of(data), size=len(data)),
        manifest=manifest,
        manifest_bytes=data,
        config_bytes=config,
        base=parse("example.org/base:1"),
        base_layers=1,
    )


def images(*made: Image) -> Images:
    if len(made) == 1:
        return Images(descriptor=made[0].descriptor, images=made)
    rows = tuple(dataclasses.replace(row.descriptor, platform=row.platform) for row in made)
    data = encode_index(Index(media_type=mediatype.OCI_INDEX, manifests=rows))
    root = Descriptor(media_type=mediatype.OCI_INDEX, digest=Digest.of(data), size=len(data))
    return Images(descriptor=root, images=made, index_bytes=data)


def tags(*names: str) -> tuple[RegistryReference, ...]:
    found = tuple(parse(name) for name in names)
    assert all(isinstance(row, RegistryReference) for row in found)
    return found  # type: ignore[return-value]


def whole(path: Path) -> set[str]:
    """All that the index leads to, each checked; exactly that is there."""
    assert json.loads((path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    found: set[str] = set()

    def follow(rows: list[dict[str, str]]) -> None:
        for row in rows:
            data = (path / "blobs/sha256" / row["digest"][7:]).read_bytes()
            assert str(Digest.of(data)) == row["digest"]
            assert len(data) == int(row["size"])
            found.add(row["digest"][7:])
            if "manifest" in row["mediaType"] or "index" in row["mediaType"]:
                document = json.loads(data)
                follow(document.get("manifests", []))
                follow([document["config"], *document["layers"]] if "config" in document else [])

    follow(json.loads((path / "index.json").read_text())["manifests"])
    assert {row.name for row in (path / "blobs/sha256").iterdir()} == found
    assert {row.name for row in path.iterdir()} == {"blobs", "index.json", "oci-layout"}
    return found


def content(path: Path) -> dict[str, bytes]:
    return {str(row.relative_to(path)): row.read_bytes() if row.is_file() else b"/" for row in path.rglob("*")}


def test_a_new_folder(tmp_path: Path, blobs: Blobs) -> None:
    path = tmp_path / "a" / "b" / "image"
    made = images(image(blobs, b"one", b"two"))
    written = LayoutSink(path, tags("example.org/app:1", "example.org/other:2"), blobs).write(made)
    assert len(whole(path)) == 4
    assert written.reference == f"oci:{path}@{made.descriptor.digest}"
    assert (written.sent, written.present) == (6, 0)
    rows = json.loads((path / "index.json").read_text())["manifests"]
    assert [row["annotations"]["org.opencontainers.image.ref.name"] for row in rows] == ["1", "2"]
    assert {oct(row.stat().st_mode & 0o777) for row in path.rglob("*") if row.is_file()} == {"0o644"}


def test_one_tag_twice_is_one_row(tmp_path: Path, blobs: Blobs) -> None:
    LayoutSink(tmp_path / "x", tags("example.org/a:1", "example.org/b:1"), blobs).write(images(image(blobs, b"one")))
    assert len(json.loads((tmp_path / "x/index.json").read_text())["manifests"]) == 1


def test_several_platforms(tmp_path: Path, blobs: Blobs) -> None:
    made = images(
        image(blobs, b"both", b"amd64"), image(blobs, b"both", b"arm64", platform="linux/arm64", config=b"{ }")
    )
    written = LayoutSink(tmp_path / "image", (), blobs).write(made)
    assert len(whole(tmp_path / "image")) == 8
    assert written.sent == 14
    assert [str(row) for row in written.platforms] == ["linux/amd64", "linux/arm64"]


def test_a_layout_is_replaced_and_what_nothing_refers_to_goes(tmp_path: Path, blobs: Blobs) -> None:
    path = tmp_path / "image"
    LayoutSink(path, (), blobs).write(images(image(blobs, b"same", b"old")))
    before = {row.name: row.stat().st_ino for row in (path / "blobs/sha256").iterdir()}
    (path / "blobs/sha256/.new-left-by-a-crash").write_text("")
    blobs.opened.clear()
    written = LayoutSink(path, (), blobs).write(images(image(blobs, b"same", b"new", config=b"{ }")))
    whole(path)
    same = Digest.of(b"same").hex
    assert (path / "blobs/sha256" / same).stat().st_ino == before[same]
    assert blobs.opened == [Digest.of(b"new")]
    assert (written.sent, written.present) == (3, 4)


@pytest.mark.parametrize("damage", [b"", b"onf", b"ones and more"])
def test_damaged_blobs_are_written_again(tmp_path: Path, blobs: Blobs, damage: bytes) -> None:
    path = tmp_path / "image"
    made = images(image(blobs, b"one", config=b"{..}"))
    LayoutSink(path, (), blobs).write(made)
    before = content(path)
    for blob in (path / "blobs/sha256").iterdir():
        blob.write_bytes(damage)
    LayoutSink(path, (), blobs).write(made)
    assert content(path) == before
    whole(path)


def test_readers_find_a_whole_image_at_any_moment(
    tmp_path: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image"
    LayoutSink(path, (), blobs).write(images(image(blobs, b"old")))
    replace = Path.replace
    seen = 0

    def watched(self: Path, target: Path) -> Path:
        nonlocal seen
        done = replace(self, target)
        seen += 1
        rows = json.loads((path / "index.json").read_text())["manifests"]
        manifest = json.loads((path / "blobs/sha256" / rows[0]["digest"][7:]).read_text())
        for row in (manifest["config"], *manifest["layers"]):
            assert str(Digest.of((path / "blobs/sha256" / row["digest"][7:]).read_bytes())) == row["digest"]
        return done

    monkeypatch.setattr(Path, "replace", watched)
    LayoutSink(path, (), blobs).write(images(image(blobs, b"new", config=b"{ }")))
    assert seen >= 4


# what fails leaves all as it was


@pytest.mark.parametrize("trouble", [StoreError("gone"), OSError(5, "Input/output error"), OSError(28, "full")])
@pytest.mark.parametrize("before", ["nothing", "empty", "layout"])
def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, blobs: Blobs, before: str, trouble: Exception
) -> None:
    path = tmp_path / "deep" / "image"
    if before == "empty":
        path.mkdir(parents=True)
    if before == "layout":
        LayoutSink(path, (), blobs).write(images(image(blobs, b"old")))
    was = content(tmp_path)
    blobs.trouble = trouble
    expected = OutputError if isinstance(trouble, OSError) and trouble.errno != 28 else StoreError
    with pytest.raises(expected):
        LayoutSink(path, (), blobs).write(images(image(blobs, b"new", config=b"{ }")))
    assert content(tmp_path) == was


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path, blobs: Blobs) -> None:
    (tmp_path / "precious").write_text("keep")
    sink = LayoutSink(tmp_path, (), blobs)
    for action in (sink.check, lambda: sink.write(images(image(blobs, b"one")))):
        with pytest.raises(OutputError, match="neither empty nor an OCI layout"):
            action()
    assert content(tmp_path) == {"precious": b"keep"}


@pytest.mark.parametrize("make", [LayoutSink, None], ids=["folder", "archive"])
def test_places_that_cannot_be(tmp_path: Path, blobs: Blobs, make: Callable | None) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")

    def sink(path: Path) -> LayoutSink | ArchiveSink:
        return make(path, (), blobs) if make else ArchiveSink(path, blobs, (), Platform.parse("linux/amd64"))

    places = [Path("/proc/dpbuild/x"), tmp_path / "file" / "below"]
    places += [tmp_path / "file", tmp_path / "dangling"] if make else [tmp_path / "folder"]
    for place in places:
        with pytest.raises(OutputError) as caught:
            sink(place).check()
        assert caught.value.where == str(place)
        assert caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_folders_that_may_not_be_looked_into(tmp_path: Path, blobs: Blobs) -> None:
    closed = tmp_path / "closed"
    (closed / "image").mkdir(parents=True)
    closed.chmod(0o700)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            for path in (closed, closed / "image", closed / "image.tar"):
                for sink in (LayoutSink(path, (), blobs), ArchiveSink(path, blobs, (), Platform.parse("linux/amd64"))):
                    try:
                        sink.check()
                    except OutputError:
                        continue
                    os._exit(2)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# archives


def test_archives_have_the_same_bytes_twice(tmp_path: Path, blobs: Blobs) -> None:
    made = images(image(blobs, b"one", b"two" * 1000))
    names = tags("example.org/app:1")
    host = Platform.parse("linux/amd64")
    written = ArchiveSink(tmp_path / "new" / "a.tar", blobs, names, host).write(made)
    ArchiveSink(tmp_path / "b.tar", blobs, names, host).write(made)
    data = (tmp_path / "new/a.tar").read_bytes()
    assert data == (tmp_path / "b.tar").read_bytes()
    assert written.reference == f"oci-archive:{tmp_path}/new/a.tar@{made.descriptor.digest}"
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        rows = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert rows[0]["RepoTags"] == ["example.org/app:1"]
        assert tar.extractfile(rows[0]["Layers"][1]).read() == b"two" * 1000  # type: ignore[union-attr]
        tar.extractall(tmp_path / "out", filter="data")
    (tmp_path / "out" / "manifest.json").unlink()
    assert len(whole(tmp_path / "out")) == 4


@pytest.mark.parametrize("before", [None, b"the old one"])
def test_an_archive_that_fails_leaves_what_was_there(tmp_path: Path, blobs: Blobs, before: bytes | None) -> None:
    path = tmp_path / "deep" / "a.tar"
    if before is not None:
        path.parent.mkdir()
        path.write_bytes(before)
    was = content(tmp_path)
    made = images(image(blobs, b"one"))
    blobs.trouble = OSError(28, "No space left on device")
    sink = ArchiveSink(path, blobs, (), Platform.parse("linux/amd64"))
    with pytest.raises(StoreError, match="the disk is full"):
        sink.write(made)
    assert content(tmp_path) == was
    blobs.trouble = None
    blobs.data[Digest.of(b"one")] = b"on"
    with pytest.raises(StoreError, match="2 bytes long instead of 3"):
        sink.write(made)
    assert content(tmp_path) == was
