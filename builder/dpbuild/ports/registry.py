"""A registry that is written to, as in the OCI distribution spec."""

from collections.abc import Callable, Sequence
from typing import BinaryIO, Protocol

from dpbuild.model.image import Referrer
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import RegistryReference
from dpbuild.ports.source import ImageSource


class Registry(Protocol):
    """All registries behind one client; every method may be called from several threads.

    Raises Unauthorized, NotFound, RateLimited or RegistryError.
    """

    def source(self, reference: RegistryReference) -> ImageSource:
        """The image that ``reference`` names, for reading."""

    def head_manifest(self, reference: RegistryReference) -> Descriptor | None:
        """What the tag or digest names now, or None."""

    def look_up(self, reference: RegistryReference) -> tuple[Descriptor, bytes] | None:
        """What the tag names now and its bytes, or None. No media type: it is neither an image nor an index."""

    def has_blob(self, reference: RegistryReference, digest: Digest) -> bool:
        """Whether the repository has the blob; a positive answer is remembered."""

    def push_blob(
        self,
        reference: RegistryReference,
        descriptor: Descriptor,
        content: Callable[[], BinaryIO],
        mount_from: RegistryReference | None = None,
        *,
        fresh: bool = False,
    ) -> bool:
        """Send a blob unless it is there or can be mounted from another repository of the same registry.

        Returns whether bytes were sent. ``content`` is called again for every attempt. ``fresh`` says that it was made
        only now, so it is sent without asking whether it is there.
        """

    def push_manifest(self, reference: RegistryReference, media_type: str, data: bytes) -> Digest:
        """Put a manifest under the tag or digest of ``reference``; returns its digest."""

    def attach(self, reference: RegistryReference, referrers: Sequence[Referrer]) -> Callable[[], None]:
        """Put manifests that refer to others into the repository, whose blobs are there, so that ``referrers`` finds
        them: by the registry's own list, or by one under a tag where it keeps none.

        Somebody else may write that one at the same time: what is returned looks at it again, and mends it.
        """

    def referrers(self, reference: RegistryReference, subject: Digest) -> tuple[Descriptor, ...]:
        """The manifests in the repository that refer to ``subject``."""
