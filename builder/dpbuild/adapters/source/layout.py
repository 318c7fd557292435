"""An image in an OCI layout (OCI image spec, image-layout.md), for reading: a folder, or the same in a tar."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from dpbuild.errors import BaseImageError, NotFound
from dpbuild.oci import mediatype
from dpbuild.oci.codec import CodecError, decode, decode_object
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Index, Manifest
from dpbuild.oci.reference import ArchiveReference, LayoutReference

# OCI image spec, annotations.md.
REF_NAME: Final = "org.opencontainers.image.ref.name"
_CHUNK: Final = 1 << 20
_LARGEST_DOCUMENT: Final = 16 << 20


class Files(Protocol):
    """Where a layout's files are."""

    def open(self, name: str) -> BinaryIO:
        """Open one for reading. Raises FileNotFoundError or NotADirectoryError, and other OSErrors."""

    def size(self, name: str) -> int:
        """Its size in bytes. Raises as ``open``."""


class Folder:
    """A layout's files in a folder."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def open(self, name: str) -> BinaryIO:
        """As ``Files``."""
        return (self._path / name).open("rb")

    def size(self, name: str) -> int:
        """As ``Files``."""
        return (self._path / name).stat().st_size


class LayoutSource:
    """The ImageSource port on a layout. Raises NotFound (92) for what is not there, BaseImageError (20).

    ``files`` is the reference's folder where nothing else is said.
    """

    def __init__(self, reference: LayoutReference | ArchiveReference, files: Files | None = None) -> None:
        self._reference = reference
        self._where = str(reference)
        self._files = files or Folder(reference.path)
        self._tag = reference.tag if isinstance(reference, LayoutReference) else None
        self._resolved: tuple[Descriptor, bytes] | None = None

    def resolve(self) -> tuple[Descriptor, bytes]:
        """What the digest, or else the tag, or else the whole of ``index.json`` names."""
        if self._resolved is None:
            self._resolved = self._resolve()
        return self._resolved

    def manifest(self, descriptor: Descriptor) -> bytes:
        """The bytes of a manifest or config, verified."""
        resolved = self._resolved
        if resolved is not None and resolved[0].digest == descriptor.digest:
            return resolved[1]
        if descriptor.size > _LARGEST_DOCUMENT:
            raise BaseImageError(
                f"{descriptor.digest} has {descriptor.size} bytes, too many for a manifest or config",
                where=self._where,
            )
        return b"".join(self.blob(descriptor))

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """The rows of ``index.json`` whose manifests refer to ``subject``, as oras keeps them."""
        found = []
        for row in self._index()[1].manifests:
            if row.artifact_type:
                try:
                    value = decode(b"".join(self.blob(row)), row.media_type)
                except CodecError as problem:
                    raise BaseImageError(f"{row.digest} cannot be read: {problem}", where=self._where) from None
                if isinstance(value, Manifest) and value.subject is not None and value.subject.digest == subject:
                    found.append(row)
        return tuple(found)

    def tagged(self, tag: str) -> bytes | None:
        """The manifest under another tag of the layout."""
        row = next((row for row in self._index()[1].manifests if tag in _names(row)), None)
        return None if row is None else b"".join(self.blob(row))

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a blob, in chunks; behind the last one, an error if they are not what they should be."""
        found = hashlib.sha256()
        size = 0
        try:
            with self._files.open(f"blobs/sha256/{descriptor.digest.hex}") as file:
                while chunk := file.read(_CHUNK):
                    found.update(chunk)
                    size += len(chunk)
                    if size > descriptor.size:
                        break
                    yield chunk
        except FileNotFoundError:
            raise NotFound(f"the layout lacks the blob {descriptor.digest}", where=self._where) from None
        except OSError as problem:
            raise BaseImageError(f"the layout cannot be read: {problem.strerror}", where=self._where) from None
        if size != descriptor.size:
            raise BaseImageError(
                f"the blob {descriptor.digest} should have {descriptor.size} bytes, but has"
                f" {'more' if size > descriptor.size else size}",
                where=self._where,
            )
        if found.hexdigest() != descriptor.digest.hex:
            raise BaseImageError(
                f"the blob {descriptor.digest} is damaged: its bytes are sha256:{found.hexdigest()}",
                where=self._where,
            )

    def _file(self, name: str) -> bytes:
        try:
            with self._files.open(name) as file:
                data = file.read(_LARGEST_DOCUMENT + 1)
        except (FileNotFoundError, NotADirectoryError):
            hint = self._meant() if name == "oci-layout" else None
            lacks = f"{name} is missing" if self._is_there() else "there is nothing of this name"
            raise NotFound(f"there is no OCI layout: {lacks}", where=self._where, hint=hint) from None
        except OSError as problem:
            raise BaseImageError(f"the layout cannot be read: {problem.strerror}", where=self._where) from None
        if len(data) > _LARGEST_DOCUMENT:
            raise BaseImageError(f"{name} is too large", where=self._where)
        return data

    def _is_there(self) -> bool:
        return not isinstance(self._reference, LayoutReference) or Path(self._reference.path).exists()

    def _meant(self) -> str | None:
        """What to say where the folder is a project that was built, or the path an archive."""
        from dpbuild.adapters.source.nearby import reference_of

        found = reference_of(self._reference.path) if isinstance(self._reference, LayoutReference) else ""
        return f"say {found}" if found else None

    def _index(self) -> tuple[bytes, Index]:
        try:
            version = decode_object(self._file("oci-layout"), "oci-layout").get("imageLayoutVersion")
            if not isinstance(version, str) or not version.startswith("1."):
                raise BaseImageError(f"the layout is of the unknown version {version!r}", where=self._where)
            data = self._file("index.json")
            index = decode(data, mediatype.OCI_INDEX)
        except CodecError as problem:
            raise BaseImageError(f"the layout cannot be read: {problem}", where=self._where) from None
        if not isinstance(index, Index):
            raise BaseImageError("the layout's index.json is no index", where=self._where)
        return data, index

    def _resolve(self) -> tuple[Descriptor, bytes]:
        data, index = self._index()
        row = self._choose(index)
        if row is None:
            size, digest = len(data), Digest.of(data)
            return Descriptor(media_type=mediatype.OCI_INDEX, digest=digest, size=size), data
        return row, b"".join(self.blob(row))

    def _choose(self, index: Index) -> Descriptor | None:
        """The row of ``index.json`` that is meant; None for all of it, as the platforms of one image."""
        wanted, tag = self._reference, self._tag
        # What says something of an image is none itself.
        rows = tuple(row for row in index.manifests if not row.artifact_type)
        if tag is not None:
            rows = tuple(row for row in rows if tag in _names(row))
            if not rows:
                there = ", ".join(sorted({name for row in index.manifests for name in _names(row)})) or "no tags"
                raise NotFound(f"the layout has no {tag!r}, but {there}", where=self._where)
        if wanted.digest is not None:
            return self._by_digest(wanted.digest, rows)
        if len({row.digest for row in rows}) == 1:
            return rows[0]
        if not rows:
            raise NotFound("the layout is empty", where=self._where)
        platforms = [row.platform for row in rows]
        if tag is None and None not in platforms and len(set(platforms)) == len(platforms):
            return None
        names = ", ".join(sorted({name for row in rows for name in _names(row)})) or "none of them has a tag"
        raise BaseImageError(
            f"the layout has {len(rows)} images ({names})",
            where=self._where,
            hint="say which, by :TAG or @sha256:… behind the path"
            if isinstance(wanted, LayoutReference)
            else "say which, by @sha256:… behind the path",
        )

    def _by_digest(self, digest: Digest, rows: tuple[Descriptor, ...]) -> Descriptor:
        for row in rows:
            if row.digest == digest:
                return row
        # A child of an index, or the layout's index.json itself, as a build without tags leaves it.
        try:
            size = self._files.size(f"blobs/sha256/{digest.hex}")
        except OSError:
            raise NotFound(f"the layout has no {digest}", where=self._where) from None
        if size > _LARGEST_DOCUMENT:
            raise BaseImageError(f"{digest} is no manifest: it has {size} bytes", where=self._where)
        data = b"".join(self.blob(Descriptor(media_type="", digest=digest, size=size)))
        try:
            kind = decode(data).media_type
        except CodecError as problem:
            raise BaseImageError(f"{digest} is no manifest: {problem}", where=self._where) from None
        return Descriptor(media_type=kind, digest=digest, size=size)


def _names(row: Descriptor) -> tuple[str, ...]:
    """The tags of a row: the name, and what follows the last colon of a full reference, as some writers put it."""
    name = dict(row.annotations).get(REF_NAME, "")
    tail = name.rpartition(":")[2]
    return tuple(dict.fromkeys(part for part in (name, tail) if part and "/" not in part))
