"""An image in a registry, for reading."""

import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from dpbuild.errors import NotFound, RateLimited, RegistryError
from dpbuild.frozen import replace
from dpbuild.oci import mediatype
from dpbuild.oci.codec import CodecError, decode_object
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import DOCKER_HUB, RegistryReference

# Bytes. A config is read whole, like a manifest, and no real one comes near.
CONFIG_LIMIT = 4 << 20


class Reader(Protocol):
    """What is needed of the registry client."""

    def read_manifest(
        self, reference: RegistryReference, expected: Descriptor | None = None
    ) -> tuple[Descriptor, bytes]:
        """A verified manifest or index."""

    def referrers(self, reference: RegistryReference, subject: Digest) -> tuple[Descriptor, ...]:
        """What refers to a manifest."""

    def read_blob(self, reference: RegistryReference, descriptor: Descriptor) -> Iterator[bytes]:
        """A verified blob."""


class RegistrySource:
    """The ImageSource port on a registry: a tag is resolved once, however often and by whomever it is asked.

    ``kept`` gives the document of a digest that was read before: what a digest names, nobody has to be asked for.
    """

    def __init__(
        self, reader: Reader, reference: RegistryReference, kept: Callable[[Digest], bytes | None] = lambda digest: None
    ) -> None:
        self._reader = reader
        self._reference = reference
        self._kept = kept
        self._lock = threading.Lock()
        self._resolved: tuple[Descriptor, bytes] | None = None

    def resolve(self) -> tuple[Descriptor, bytes]:
        """The manifest or index that the reference names; at most one request in this object's life."""
        with self._lock:
            if self._resolved is None:
                self._resolved = self._read()
            return self._resolved

    def _read(self) -> tuple[Descriptor, bytes]:
        if (known := self._known()) is not None:
            return known
        try:
            return self._reader.read_manifest(self._reference)
        except RateLimited:
            raise
        except RegistryError as problem:
            if self._reference.registry == DOCKER_HUB and self._reference.digest is None:
                problem.hint = "; ".join(filter(None, (problem.hint, self._meant())))
            raise

    def _known(self) -> tuple[Descriptor, bytes] | None:
        """What is kept, where that says itself what it is."""
        digest = self._reference.digest
        data = self._kept(digest) if digest is not None else None
        if digest is None or data is None or Digest.of(data) != digest:
            return None
        try:
            media_type = str(decode_object(data, "manifest").get("mediaType"))
        except CodecError:
            return None
        if media_type not in mediatype.INDEXES | mediatype.MANIFESTS:
            return None
        return Descriptor(media_type=media_type, digest=digest, size=len(data)), data

    def _meant(self) -> str:
        """Most names without a host are those of images that were just made, or of a suite."""
        from dpbuild.debian.suites import SUITES

        name = self._reference.short
        if name.partition(":")[0] in SUITES:
            return f"for a base that is made here: compose:{name}"
        return f"for an image in the engine: docker-daemon:{name}"

    def manifest(self, descriptor: Descriptor) -> bytes:
        """The bytes of a child manifest (from ``/manifests/``) or of a config (from ``/blobs/``)."""
        resolved = self._resolved
        if resolved is not None and resolved[0].digest == descriptor.digest:
            return resolved[1]
        if descriptor.media_type in mediatype.INDEXES | mediatype.MANIFESTS:
            return self._reader.read_manifest(self._reference.at(descriptor.digest), descriptor)[1]
        if descriptor.size > CONFIG_LIMIT:
            raise RegistryError(
                f"the config {descriptor.digest} has {descriptor.size} bytes; at most {CONFIG_LIMIT} are read",
                where=str(self._reference),
            )
        return b"".join(self.blob(descriptor))

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """What refers to a manifest of the repository."""
        return self._reader.referrers(self._reference, subject)

    def tagged(self, tag: str) -> bytes | None:
        """The manifest under another tag of the repository."""
        try:
            return self._reader.read_manifest(replace(self._reference, tag=tag, digest=None))[1]
        except NotFound:
            return None

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a layer, in chunks; the last chunk is followed by an error if the digest differs."""
        return self._reader.read_blob(self._reference, descriptor)
