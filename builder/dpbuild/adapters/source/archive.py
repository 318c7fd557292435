"""Images in one tar file: an OCI layout (``oci-archive:``) or what ``docker save`` writes (``docker-archive:``)."""

import hashlib
import io
import json
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from dpbuild.adapters.source.layout import LayoutSource
from dpbuild.archive.entry import Kind
from dpbuild.archive.read import ReadError, entries
from dpbuild.errors import BaseImageError, NotFound
from dpbuild.oci import mediatype
from dpbuild.oci.codec import encode_manifest
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.reference import ArchiveReference
from dpbuild.ports.source import ImageSource

_CHUNK: Final = 1 << 20
_LARGEST_DOCUMENT: Final = 16 << 20


def archive_source(reference: ArchiveReference) -> ImageSource:
    """The image in an archive; the file is listed now. Raises NotFound, BaseImageError."""
    files = TarFiles(reference)
    return LayoutSource(reference, files) if reference.kind == "oci-archive" else DockerArchiveSource(reference, files)


class TarFiles:
    """The files in a tar, by name; links are followed, since Docker once wrote equal layers as links.

    Raises NotFound or BaseImageError when it is made.
    """

    def __init__(self, reference: ArchiveReference) -> None:
        self._path = Path(reference.path)
        self._parts: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        where = str(reference)
        try:
            with self._path.open("rb") as file:
                if file.read(2) == b"\x1f\x8b":
                    raise BaseImageError("the archive is compressed as a whole", where=where, hint="gunzip it first")
                file.seek(0)
                for entry, content in entries(file):
                    if content is not None:
                        self._parts[entry.path] = (file.tell(), entry.size)
                    elif entry.kind is Kind.SYMLINK:
                        self._links[entry.path] = posixpath.join(posixpath.dirname(entry.path), entry.target)
                    elif entry.kind is Kind.HARDLINK:
                        self._links[entry.path] = entry.target
        except FileNotFoundError:
            raise NotFound("there is no such archive", where=where) from None
        except OSError as problem:
            raise BaseImageError(f"the archive cannot be read: {problem.strerror}", where=where) from None
        except ReadError as problem:
            raise BaseImageError(f"the archive cannot be read: {problem}", where=where) from None

    def _find(self, name: str) -> tuple[int, int]:
        name = posixpath.normpath(name)
        if name in self._links:
            name = posixpath.normpath(self._links[name])
        if name not in self._parts:
            raise FileNotFoundError(name)
        return self._parts[name]

    def open(self, name: str) -> BinaryIO:
        """Open one for reading. Raises FileNotFoundError."""
        offset, size = self._find(name)
        file = self._path.open("rb")
        file.seek(offset)
        return cast("BinaryIO", _Part(file, size))

    def size(self, name: str) -> int:
        """Its size in bytes. Raises FileNotFoundError."""
        return self._find(name)[1]


class _Part(io.RawIOBase):
    """``size`` bytes of a file from where it stands."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


class DockerArchiveSource:
    """The ImageSource port on what ``docker save`` writes.

    Such an archive has no manifest; one is made from its config and layers, whose bytes are kept.
    """

    def __init__(self, reference: ArchiveReference, files: TarFiles, where: str = "") -> None:
        self._reference = reference
        self._where = where or str(reference)
        self._files = files
        self._names: dict[Digest, str] = {}
        self._resolved: tuple[Descriptor, bytes] | None = None

    def resolve(self) -> tuple[Descriptor, bytes]:
        """The manifest of the archive's only image, or of the one that the reference's digest names: that of its
        manifest, or of its config, which is the engine's image id. Raises NotFound, BaseImageError.
        """
        if self._resolved is None:
            config, layers = self._choose(self._contents())
            descriptor, data = self._manifest(config, layers)
            image_id = self._describe(config, mediatype.OCI_CONFIG).digest
            if self._reference.digest not in (None, descriptor.digest, image_id):
                raise NotFound(f"the archive holds {descriptor.digest}", where=self._where)
            self._resolved = descriptor, data
        return self._resolved

    def manifest(self, descriptor: Descriptor) -> bytes:
        """The bytes of the manifest or of the config. Raises NotFound, BaseImageError."""
        descriptor_, data = self.resolve()
        if descriptor.digest == descriptor_.digest:
            return data
        if descriptor.size > _LARGEST_DOCUMENT:
            raise BaseImageError(f"{descriptor.digest} is too large for a config", where=self._where)
        return b"".join(self.blob(descriptor))

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a layer, verified at their end. Raises NotFound, BaseImageError."""
        self.resolve()
        name = self._names.get(descriptor.digest)
        if name is None:
            raise NotFound(f"the archive lacks {descriptor.digest}", where=self._where)
        found = hashlib.sha256()
        with self._files.open(name) as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
                yield chunk
        if found.hexdigest() != descriptor.digest.hex:
            raise BaseImageError(f"the archive changed while it was read: {name}", where=self._where)

    def _contents(self) -> list[tuple[str, list[str], tuple[str, ...]]]:
        """The names of config, layers and tags of each image, by ``manifest.json`` (Docker image spec v1.2)."""
        try:
            with self._files.open("manifest.json") as file:
                rows: Any = json.loads(file.read(_LARGEST_DOCUMENT))
            images = [(row["Config"], list(row["Layers"]), tuple(row.get("RepoTags") or ())) for row in rows]
        except FileNotFoundError:
            raise BaseImageError("this is no docker archive: it has no manifest.json", where=self._where) from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise BaseImageError("the archive's manifest.json is broken", where=self._where) from None
        if not all(isinstance(name, str) for config, layers, tags in images for name in (config, *layers, *tags)):
            raise BaseImageError("the archive's manifest.json is broken", where=self._where)
        return images

    def _choose(self, images: list[tuple[str, list[str], tuple[str, ...]]]) -> tuple[str, list[str]]:
        """The image that is meant. Of several only a digest can say which."""
        ids = [self._describe(config, mediatype.OCI_CONFIG).digest for config, _, _ in images]
        wanted = self._reference.digest
        if wanted is not None and len(images) > 1:
            for (config, layers, _), found in zip(images, ids, strict=True):
                if found == wanted or self._manifest(config, layers)[0].digest == wanted:
                    return config, layers
        if len(set(ids)) == 1:
            return images[0][:2]
        rows = "".join(f"\n  {found} {', '.join(tags)}" for found, (_, _, tags) in zip(ids, images, strict=True))
        raise BaseImageError(
            f"the archive has {len(images)} images{rows}",
            where=self._where,
            hint="say which, by @sha256:… behind the path" if images else None,
        )

    def _manifest(self, config: str, layers: list[str]) -> tuple[Descriptor, bytes]:
        """The manifest that is made for an image of the archive."""
        rows = tuple(self._describe(name) for name in layers)
        found = self._describe(config, mediatype.OCI_CONFIG)
        data = encode_manifest(Manifest(media_type=mediatype.OCI_MANIFEST, config=found, layers=rows))
        return Descriptor(media_type=mediatype.OCI_MANIFEST, digest=Digest.of(data), size=len(data)), data

    def _describe(self, name: str, media_type: str = "") -> Descriptor:
        found, size, head = hashlib.sha256(), 0, b""
        try:
            with self._files.open(name) as file:
                while chunk := file.read(_CHUNK):
                    head = head or chunk[:4]
                    found.update(chunk)
                    size += len(chunk)
        except FileNotFoundError:
            raise BaseImageError(f"the archive lacks {name}", where=self._where) from None
        if not media_type:
            media_type = mediatype.OCI_LAYER_GZIP if head[:2] == b"\x1f\x8b" else mediatype.OCI_LAYER
            media_type = mediatype.OCI_LAYER_ZSTD if head == b"\x28\xb5\x2f\xfd" else media_type
        digest = Digest(found.hexdigest())
        self._names[digest] = name
        return Descriptor(media_type=media_type, digest=digest, size=size)
