"""The Registry port over HTTP. urllib3 is imported when a few plain requests are not enough."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from dpbuild.adapters import interruption
from dpbuild.adapters.registry.credentials import CredentialProvider, NoCredentials
from dpbuild.adapters.registry.hosts import Proxies
from dpbuild.adapters.source.registry import RegistrySource
from dpbuild.errors import RegistryError
from dpbuild.model.image import Referrer
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import RegistryReference

if TYPE_CHECKING:
    from dpbuild.adapters.registry.session import Session

T = TypeVar("T")


class RegistryClient:
    """All registries behind one client; see ports/registry.py. May be used from several threads.

    ``ca_bundle`` is the path of a PEM file that replaces the system's CA certificates; ``certificates`` gives the
    folder of a host's own, or ""; ``plain_http`` speaks http to every registry (loopback ones get it without being
    asked for); ``timeout`` is in seconds for connecting and for every read; ``connections`` is how many are kept open
    to a host. ``sleep`` and ``clock`` (seconds of any origin) serve retries and the lifetime of tokens, never what is
    built.
    """

    def __init__(
        self,
        *,
        credentials: CredentialProvider | None = None,
        proxies: Proxies | None = None,
        ca_bundle: str | None = None,
        certificates: Callable[[str], str] = lambda host: "",
        plain_http: bool = False,
        timeout: float = 30.0,
        connections: int = 8,
        user_agent: str = "dpbuild",
        sleep: Callable[[float], None] = interruption.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials = credentials or NoCredentials()
        self._proxies = proxies or Proxies()
        self._ca_bundle = ca_bundle
        self._certificates = certificates
        self._plain_http = plain_http
        self._timeout = timeout
        self._connections = connections
        self._user_agent = user_agent
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._made: Session | None = None
        self._known: set[tuple[str, str, Digest]] = set()
        self._no_mount: set[tuple[str, str, str]] = set()

    def source(
        self, reference: RegistryReference, kept: Callable[[Digest], bytes | None] = lambda digest: None
    ) -> RegistrySource:
        """The image that ``reference`` names, for reading; nothing is asked before it is used.

        ``kept`` gives what a digest names, or None; what it gives is not asked for.
        """
        return RegistrySource(self, reference, kept)

    def read_manifest(
        self, reference: RegistryReference, expected: Descriptor | None = None
    ) -> tuple[Descriptor, bytes]:
        """The manifest or index that a tag or digest names, verified: one GET.

        ``expected`` is what an index says of it. Raises NotFound, Unauthorized, RateLimited, RegistryError.
        """
        from dpbuild.adapters.registry import manifests

        return self._run(lambda session: manifests.read(session, reference, expected))

    def read_blob(self, reference: RegistryReference, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a blob in chunks of at most 256 KiB, verified; a broken connection is taken up again."""
        from dpbuild.adapters.registry import blobs
        from dpbuild.adapters.registry.transport import ConnectionFailed

        try:
            yield from blobs.read(self._session(), reference, descriptor)
        except ConnectionFailed as failed:
            raise failed.error from None

    def head_manifest(self, reference: RegistryReference) -> Descriptor | None:
        """What the tag or digest names now, or None: one HEAD."""
        from dpbuild.adapters.registry import manifests

        return self._run(lambda session: manifests.head(session, reference))

    def look_up(self, reference: RegistryReference) -> tuple[Descriptor, bytes] | None:
        """What the tag names now and its bytes, or None: one GET. No media type: it is no image."""
        from dpbuild.adapters.registry import manifests

        return self._run(lambda session: manifests.look_up(session, reference))

    def has_blob(self, reference: RegistryReference, digest: Digest) -> bool:
        """Whether the repository has the blob; a positive answer is remembered."""
        from dpbuild.adapters.registry import blobs

        key = (reference.registry, reference.repository, digest)
        if key in self._known:
            return True
        if self._run(lambda session: blobs.has(session, reference, digest)):
            self._known.add(key)
        return key in self._known

    def push_blob(
        self,
        reference: RegistryReference,
        descriptor: Descriptor,
        content: Callable[[], BinaryIO],
        mount_from: RegistryReference | None = None,
        *,
        fresh: bool = False,
    ) -> bool:
        """Send a blob unless it is there or can be mounted; returns whether bytes were sent.

        A mount is asked for before anything else: where it works it is the only request, whether the blob was
        there or not. A registry that once did not mount from a repository is not asked for it again. What is
        ``fresh`` is not asked for at all.
        """
        key = (reference.registry, reference.repository, descriptor.digest)
        if key in self._known:
            return False
        sent = self._run(
            lambda session: self._push_blob(session, reference, descriptor, content, mount_from, fresh=fresh)
        )
        self._known.add(key)
        return sent

    def push_manifest(self, reference: RegistryReference, media_type: str, data: bytes) -> Digest:
        """Put a manifest or index under the tag or digest of ``reference``: one PUT; returns its digest."""
        from dpbuild.adapters.registry import manifests

        digest = Digest.of(data)
        if reference.digest is not None and reference.digest != digest:
            raise RegistryError(f"not the manifest {reference.digest}, but {digest}", where=str(reference))
        self._run(lambda session: manifests.write(session, reference, media_type, data))
        return digest

    def attach(self, reference: RegistryReference, referrers: Sequence[Referrer]) -> Callable[[], None]:
        """Put manifests that refer to others, and see to it that they are found; see ports/registry.py."""
        from dpbuild.adapters.registry import referrers as module

        listed = self._run(lambda session: module.attach(session, reference, referrers))
        return lambda: self._run(lambda session: module.stay(session, reference, listed))

    def referrers(self, reference: RegistryReference, subject: Digest) -> tuple[Descriptor, ...]:
        """What refers to a manifest of the repository: one GET, two where there is no referrers API."""
        from dpbuild.adapters.registry import referrers as module

        return self._run(lambda session: module.listed(session, reference, subject))

    def close(self) -> None:
        """Close idle connections; the client can still be used."""
        if self._made is not None:
            self._made.retrier.transport.close()

    def _push_blob(
        self,
        session: "Session",
        reference: RegistryReference,
        descriptor: Descriptor,
        content: Callable[[], BinaryIO],
        mount_from: RegistryReference | None,
        *,
        fresh: bool,
    ) -> bool:
        from dpbuild.adapters.registry import blobs

        upload = blobs.Upload(session, reference, descriptor, content)
        location = ""
        if (
            mount_from is not None
            and mount_from.registry == reference.registry
            and mount_from.repository != reference.repository
        ):
            way = (reference.registry, mount_from.repository, reference.repository)
            if way not in self._no_mount:
                begun = upload.mount(mount_from.repository)
                if begun is None:
                    return False
                location = begun
                self._no_mount.add(way)
        if not fresh and blobs.has(session, reference, descriptor.digest):
            return False
        upload.send(location)
        return True

    def _session(self) -> "Session":
        with self._lock:
            if self._made is None:
                from dpbuild.adapters.registry.retry import Retrier
                from dpbuild.adapters.registry.session import Session
                from dpbuild.adapters.registry.transport import Transport

                transport = Transport(
                    proxies=self._proxies,
                    ca_bundle=self._ca_bundle,
                    certificates=self._certificates,
                    timeout=self._timeout,
                    connections=self._connections,
                    user_agent=self._user_agent,
                    clock=self._clock,
                )
                self._made = Session(
                    Retrier(transport, self._sleep),
                    self._credentials,
                    self._clock,
                    plain_http=self._plain_http,
                )
            return self._made

    def _run(self, action: "Callable[[Session], T]") -> T:
        from dpbuild.adapters.registry.transport import ConnectionFailed

        try:
            return action(self._session())
        except ConnectionFailed as failed:
            raise failed.error from None
