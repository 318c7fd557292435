"""Images in an OCI layout folder (OCI image spec, image-layout.md)."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from dpbuild.errors import BaseImageError
from dpbuild.oci.codec import CodecError, decode
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.manifest import Index
from dpbuild.oci.reference import LayoutReference

_REF_NAME = "org.opencontainers.image.ref.name"
_CHUNK = 1 << 20
# OCI distribution spec, "Pushing manifests": what registries take at least, and more than any honest one has.
_LARGEST = 4 << 20


class LayoutSource:
    """``oci:PATH[:tag][@digest]``; implements ``ports.source.ImageSource``."""

    def __init__(self, reference: LayoutReference) -> None:
        self._reference = reference
        self._path = Path(reference.path)
        self._resolved: tuple[Descriptor, bytes] | None = None

    def resolve(self) -> tuple[Descriptor, bytes]:
        """What the tag or digest names; without either the only image. Raises BaseImageError."""
        if self._resolved is None:
            self._resolved = self._resolve()
        return self._resolved

    def _resolve(self) -> tuple[Descriptor, bytes]:
        where = str(self._reference)
        try:
            data = (self._path / "index.json").read_bytes()
        except OSError:
            raise BaseImageError(
                "there is no OCI layout", where=where, hint="a layout is a folder with an index.json in it"
            ) from None
        try:
            index = decode(data)
        except CodecError as problem:
            raise BaseImageError(f"its index.json is broken: {problem}", where=where) from None
        rows = index.manifests if isinstance(index, Index) else ()
        wanted = self._reference
        if wanted.digest is not None:
            found = [row for row in rows if row.digest == wanted.digest]
            if not found:
                # The digest may be that of one platform's manifest, inside an index.
                inner = [row for outer in rows for row in self._children(outer) if row.digest == wanted.digest]
                found = inner[:1]
        elif wanted.tag is not None:
            found = [row for row in rows if dict(row.annotations).get(_REF_NAME) == wanted.tag]
        else:
            found = list(rows)
        digests = {row.digest for row in found}
        if len(digests) != 1:
            names = sorted({dict(row.annotations).get(_REF_NAME, str(row.digest)) for row in rows})
            word = "several images" if digests else "no such image"
            raise BaseImageError(
                f"there is {word} in the layout", where=where, hint=f"it has: {', '.join(names) or 'nothing'}"
            )
        descriptor = found[0]
        return descriptor, self.manifest(descriptor)

    def _children(self, row: Descriptor) -> tuple[Descriptor, ...]:
        try:
            value = decode(self.manifest(row), row.media_type)
        except (CodecError, BaseImageError):
            return ()
        return value.manifests if isinstance(value, Index) else ()

    def manifest(self, descriptor: Descriptor) -> bytes:
        """A manifest or config, verified. Raises BaseImageError."""
        if descriptor.size > _LARGEST:
            raise BaseImageError(f"a manifest has {descriptor.size} bytes", where=str(self._reference))
        return b"".join(self.blob(descriptor))

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """A layer in chunks, verified at its end. Raises BaseImageError."""
        seen = hashlib.sha256()
        size = 0
        try:
            with (self._path / "blobs" / "sha256" / descriptor.digest.hex).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    seen.update(chunk)
                    size += len(chunk)
                    yield chunk
        except FileNotFoundError:
            raise BaseImageError(
                f"the layout lacks {descriptor.digest}", where=str(self._reference), hint="copy the image again"
            ) from None
        except OSError as problem:
            raise BaseImageError(f"cannot read the layout: {problem.strerror}", where=str(self._reference)) from None
        if seen.hexdigest() != descriptor.digest.hex or size != descriptor.size:
            raise BaseImageError(
                f"the layout is damaged: {descriptor.digest} is not what its name says",
                where=str(self._reference),
                hint="copy the image again",
            )
