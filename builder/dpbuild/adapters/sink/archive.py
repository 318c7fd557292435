"""One tar that ``docker load``, ``podman load`` and ``skopeo oci-archive:`` all take.

It is an OCI layout (OCI image spec, image-layout.md) with Docker's ``manifest.json`` (moby, image/spec/v1.2.md) beside
it, which points at the same blobs.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from dpbuild.adapters.sink.files import fail, probe, replacing
from dpbuild.archive import tar
from dpbuild.archive.entry import Entry, Kind
from dpbuild.errors import OutputError, StoreError
from dpbuild.frozen import replace
from dpbuild.model.image import Image, Images, Written
from dpbuild.oci import mediatype
from dpbuild.oci.codec import canonical, encode_index
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.manifest import Index
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import RegistryReference

# OCI image spec, annotations.md; and the one by which containerd names what it imports.
_REF_NAME: Final = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME: Final = "io.containerd.image.name"
_LAYOUT: Final = canonical({"imageLayoutVersion": "1.0.0"})
_CHUNK: Final = 1 << 20

Blob = Callable[[Descriptor], BinaryIO]


def for_host(images: Images, host: Platform) -> Image:
    """The image that an engine on this machine takes: the host's platform, else the first."""
    return next((image for image in images.images if host.matches(image.platform)), images.images[0])


def archive_chunks(images: Images, blob: Blob, tags: tuple[RegistryReference, ...], host: Platform) -> Iterator[bytes]:
    """The archive, piece by piece; the same bytes for the same images and tags.

    ``index.json`` has all platforms, ``manifest.json`` the host's. ``blob`` opens a layer.
    """
    small = {image.manifest.config.digest.hex: image.config_bytes for image in images.images}
    small |= {image.descriptor.digest.hex: image.manifest_bytes for image in images.images}
    if images.index_bytes:
        small[images.descriptor.digest.hex] = images.index_bytes
    layers = {row.digest.hex: row for image in images.images for row in image.manifest.layers}
    yield _header("oci-layout", len(_LAYOUT)) + _LAYOUT + tar.padding(len(_LAYOUT))
    for name in ("blobs", "blobs/sha256"):
        yield tar.header(Entry(path=name, kind=Kind.DIRECTORY, mode=0o755))
    for name in sorted({*small, *layers}):
        data = small.get(name)
        if data is not None:
            yield _file(f"blobs/sha256/{name}", data)
            continue
        size = layers[name].size
        yield _header(f"blobs/sha256/{name}", size)
        left = size
        with blob(layers[name]) as file:
            while chunk := file.read(_CHUNK):
                left -= len(chunk)
                yield chunk
        if left:
            raise StoreError(f"a layer is {size - left} bytes long instead of {size}", where=str(layers[name].digest))
        yield tar.padding(size)
    yield _file("index.json", encode_index(_index(images, tags)))
    image = for_host(images, host)
    row = {
        "Config": f"blobs/sha256/{image.manifest.config.digest.hex}",
        "RepoTags": [named(tag) for tag in tags] or None,
        "Layers": [f"blobs/sha256/{layer.digest.hex}" for layer in image.manifest.layers],
    }
    yield _file("manifest.json", canonical([row]))
    yield tar.END


def named(tag: RegistryReference) -> str:
    """A tag with its name, as engines keep it."""
    return f"{tag.name}:{tag.tag or 'latest'}"


def _index(images: Images, tags: tuple[RegistryReference, ...]) -> Index:
    """One row, named by the first tag: of several, skopeo wants to be told which. ``manifest.json`` has every name."""
    rows = {_REF_NAME: tags[0].tag or "latest", _CONTAINERD_NAME: named(tags[0])} if tags else {}
    row = replace(images.descriptor, annotations=tuple(sorted(rows.items())))
    return Index(media_type=mediatype.OCI_INDEX, manifests=(row,))


def _header(name: str, size: int) -> bytes:
    return tar.header(Entry(path=name, kind=Kind.FILE, mode=0o644, size=size))


def _file(name: str, data: bytes) -> bytes:
    return _header(name, len(data)) + data + tar.padding(len(data))


class ArchiveSink:
    """Writes ``path``, which is replaced at once when everything is there."""

    def __init__(self, path: Path, blob: Blob, tags: tuple[RegistryReference, ...], host: Platform) -> None:
        self._path = path
        self._blob = blob
        self._tags = tags
        self._host = host

    def check(self, images: Images | None = None) -> None:
        """Refuse early. Raises OutputError."""
        try:
            if self._path.is_dir():
                raise OutputError("the output archive is a folder", where=str(self._path), hint="choose another name")
            probe(self._path.parent)
        except OSError as problem:
            fail(problem, self._path, "file")

    def write(self, images: Images) -> Written:
        """Write it. Raises OutputError (80), StoreError (110) when the disk is full."""
        self.check()
        size = 0
        folders = [path for path in self._path.parents if not path.exists()]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as file:
                for chunk in archive_chunks(images, self._blob, self._tags, self._host):
                    size += file.write(chunk)
        except BaseException as problem:
            with contextlib.suppress(OSError):
                for path in folders:
                    path.rmdir()
            if isinstance(problem, OSError):
                fail(problem, self._path, "file")
            raise
        return Written(
            kind="oci-archive",
            reference=f"oci-archive:{self._path}@{images.descriptor.digest}",
            tags=tuple(named(tag) for tag in self._tags),
            descriptor=images.descriptor,
            platforms=tuple(image.platform for image in images.images),
            sent=size,
        )
