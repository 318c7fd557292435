"""Manifests and indexes: read, looked up, written; always verified against what was asked for."""

from dpbuild.adapters.registry.auth import pull, push
from dpbuild.adapters.registry.errors import bare, printable
from dpbuild.adapters.registry.session import Request, Session
from dpbuild.adapters.registry.transport import Answer, ConnectionFailed
from dpbuild.errors import RegistryError
from dpbuild.oci import mediatype
from dpbuild.oci.codec import CodecError, decode_object
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import RegistryReference

# Distribution spec, "Pushing Manifests": registries take at least 4 MiB, and clients should not ask for more.
LIMIT = 4 << 20
READS = 3
TYPES = (
    mediatype.OCI_INDEX,
    mediatype.OCI_MANIFEST,
    mediatype.DOCKER_INDEX,
    mediatype.DOCKER_MANIFEST,
)
_ACCEPT = (("Accept", ", ".join(TYPES)),)


def read(
    session: Session, reference: RegistryReference, expected: Descriptor | None = None
) -> tuple[Descriptor, bytes]:
    """The manifest that a tag or digest names, with the descriptor that its bytes have. Raises RegistryError."""
    doing = f"cannot read {reference}"
    answer, data = _get(session, reference, doing, frozenset({200}))
    digest = Digest.of(data)
    wanted = expected.digest if expected is not None else reference.digest
    if wanted is not None and digest != wanted:
        raise RegistryError(f"{doing}: expected {wanted}, got {digest}", where=bare(answer.url))
    if expected is not None and len(data) != expected.size:
        raise RegistryError(f"{doing}: expected {expected.size} bytes, got {len(data)}", where=bare(answer.url))
    return Descriptor(media_type=_media_type(answer, data, doing), digest=digest, size=len(data)), data


def look_up(session: Session, reference: RegistryReference) -> tuple[Descriptor, bytes] | None:
    """What a tag names now, with its bytes, or None: ``head`` and ``read`` in one request.

    What is there may be no image at all: then it has no media type here. Raises RegistryError, also for what does not
    look like the answer of a registry.
    """
    doing = f"cannot look for {reference}"
    answer, data = _get(session, reference, doing, frozenset({200, 404}))
    if answer.status == 404:
        return None
    try:
        media_type = _media_type(answer, data, doing)
    except RegistryError:
        if not answer.header("Docker-Content-Digest"):
            raise
        media_type = ""
    return Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data)), data


def _get(session: Session, reference: RegistryReference, doing: str, accept: frozenset[int]) -> tuple[Answer, bytes]:
    request = Request(
        registry=reference.registry,
        repository=reference.repository,
        method="GET",
        target=f"/v2/{reference.repository}/manifests/{reference.selector}",
        scopes=frozenset({pull(reference.repository)}),
        doing=doing,
        accept=accept,
        headers=_ACCEPT,
    )
    for attempt in range(1, READS + 1):
        answer = session.call(request)
        try:
            return answer, answer.read(LIMIT)
        except ConnectionFailed:
            if attempt == READS:
                raise
            session.retrier.pause(attempt)
    raise AssertionError


def head(session: Session, reference: RegistryReference) -> Descriptor | None:
    """What a tag or digest names, or None. A registry that does not tell in a HEAD is asked with a GET.

    The media type is the registry's own word: what is there may be no image at all.
    """
    answer = session.call(
        Request(
            registry=reference.registry,
            repository=reference.repository,
            method="HEAD",
            target=f"/v2/{reference.repository}/manifests/{reference.selector}",
            scopes=frozenset({pull(reference.repository)}),
            doing=f"cannot look for {reference}",
            accept=frozenset({200, 404, 405}),
            headers=_ACCEPT,
        )
    )
    answer.finish()
    if answer.status == 404:
        return None
    size = answer.header("Content-Length")
    media_type = _plain_type(answer.header("Content-Type"))
    try:
        digest = reference.digest or Digest.parse(answer.header("Docker-Content-Digest"))
    except ValueError:
        digest = None
    if answer.status != 200 or digest is None or not size.isdigit():
        return read(session, reference)[0]
    return Descriptor(media_type=media_type, digest=digest, size=int(size))


def write(session: Session, reference: RegistryReference, media_type: str, data: bytes) -> bool:
    """Put a manifest under the tag or digest of ``reference``.

    Returns whether the registry says that it lists the manifest among the referrers of its subject (distribution
    spec, "Pushing Manifests with Subject").
    """
    doing = f"cannot write {reference}"
    if len(data) > LIMIT:
        raise RegistryError(f"{doing}: it has {len(data)} bytes, registries take {LIMIT}")
    answer = session.call(
        Request(
            registry=reference.registry,
            repository=reference.repository,
            method="PUT",
            target=f"/v2/{reference.repository}/manifests/{reference.selector}",
            scopes=frozenset({push(reference.repository)}),
            doing=doing,
            accept=frozenset({200, 201, 202, 204}),
            headers=(("Content-Type", media_type), ("Content-Length", str(len(data)))),
            body=lambda: data,
        )
    )
    answer.finish()
    told, digest = answer.header("Docker-Content-Digest"), Digest.of(data)
    if told and told != str(digest):
        raise RegistryError(
            f"{doing}: the registry keeps {printable(told)} instead of {digest}", where=bare(answer.url)
        )
    return bool(answer.header("OCI-Subject"))


def _plain_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()


def _media_type(answer: Answer, data: bytes, doing: str) -> str:
    """What the manifest is: header and body must not say different things, or two readers see two images."""
    try:
        inner = decode_object(data, "manifest").get("mediaType")
    except CodecError as problem:
        raise RegistryError(f"{doing}: {printable(str(problem))}", where=bare(answer.url)) from None
    outer = _plain_type(answer.header("Content-Type"))
    if inner is not None and outer in TYPES and inner != outer:
        raise RegistryError(
            f"{doing}: the registry calls it {outer}, it calls itself {printable(str(inner))}",
            where=bare(answer.url),
        )
    found = outer if outer in TYPES else str(inner or "")
    if found not in TYPES:
        raise RegistryError(
            f"{doing}: neither an image manifest nor an index, but {printable(str(inner or outer))}",
            where=bare(answer.url),
        )
    return found
