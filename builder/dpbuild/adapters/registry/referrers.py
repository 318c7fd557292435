"""What refers to a manifest: the referrers API, and the tag scheme where a registry has none.

OCI distribution spec, "Listing Referrers", "Pushing Manifests with Subject", "Referrers Tag Schema". There the list
is an index that clients maintain. Nothing in the spec makes changing it atomic, so it is read again after it
was written: whoever was overtaken adds what is missing once more.
"""

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from dpbuild.adapters.registry import manifests
from dpbuild.adapters.registry.auth import pull
from dpbuild.adapters.registry.errors import bare, printable
from dpbuild.adapters.registry.session import Request, Session
from dpbuild.errors import NotFound, RegistryError
from dpbuild.model.image import Referrer
from dpbuild.oci import mediatype
from dpbuild.oci.codec import CodecError, canonical, decode_descriptor, decode_object, encode_descriptor
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import RegistryReference

Json = dict[str, Any]

_PAGES: Final = 50
# Manifests put at a time.
_AT_ONCE: Final = 4
_TRIES: Final = 8
# Registries without the API answer with one of these.
_NONE: Final = frozenset({400, 404, 405, 406, 501})
_NEXT: Final = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')


def tag_of(subject: Digest) -> str:
    """The tag of the list in the tag scheme."""
    return f"sha256-{subject.hex}"


def listed(session: Session, reference: RegistryReference, subject: Digest) -> tuple[Descriptor, ...]:
    """The manifests of the repository that refer to ``subject``; rows that cannot be read are left out.

    Raises Unauthorized, RateLimited, RegistryError.
    """
    rows = _by_api(session, reference, subject)
    if rows is None:
        rows = _by_tag(session, reference, subject)[1]
    found = []
    for number, row in enumerate(rows):
        try:
            found.append(decode_descriptor(row, f"$.manifests[{number}]"))
        except CodecError:
            continue
    return tuple(dict.fromkeys(found))


def attach(session: Session, reference: RegistryReference, referrers: Sequence[Referrer]) -> None:
    """Put the manifests, whose blobs are there, and list them where the registry does not do that itself."""
    for row in referrers:
        if row.tag:
            _add_layers(session, reference, row)

    def put(row: Referrer) -> bool:
        where = reference.at(row.descriptor.digest)
        return manifests.write(session, where, row.descriptor.media_type, row.manifest_bytes)

    # They do not refer to each other.
    with ThreadPoolExecutor(max(1, min(len(referrers), _AT_ONCE))) as pool:
        listed_there = list(pool.map(put, referrers))
    unlisted: dict[Digest, list[Descriptor]] = {}
    for row, known in zip(referrers, listed_there, strict=True):
        if not known:
            unlisted.setdefault(row.subject.digest, []).append(row.descriptor)
    for subject, rows in unlisted.items():
        _add(session, reference, subject, rows)


def _by_api(session: Session, reference: RegistryReference, subject: Digest) -> list[Any] | None:
    """The rows that the API gives, page by page; None where there is no such API."""
    target = f"/v2/{reference.repository}/referrers/{subject}"
    rows: list[Any] = []
    for _ in range(_PAGES):
        answer = session.call(
            Request(
                registry=reference.registry,
                repository=reference.repository,
                method="GET",
                target=target,
                scopes=frozenset({pull(reference.repository)}),
                doing=f"cannot look for what refers to {reference.name}@{subject}",
                accept=frozenset({200}) | _NONE,
                headers=(("Accept", mediatype.OCI_INDEX),),
            )
        )
        data = answer.read(manifests.LIMIT)
        if answer.status != 200:
            return None
        try:
            page = decode_object(data, "list of referrers").get("manifests")
        except CodecError:
            page = None
        if not isinstance(page, list):
            # Something in front of the registry that answers 200 to everything.
            return None
        rows += page
        following = _NEXT.search(answer.header("Link"))
        if following is None:
            break
        try:
            parts = urlsplit(urljoin(answer.url, following[1]))
        except ValueError:
            raise RegistryError(
                f"the list of what refers to {reference.name}@{subject} goes on at what is no address: "
                f"{printable(following[1])}",
                where=bare(answer.url),
            ) from None
        target = f"{parts.path}?{parts.query}"
    return rows


def _by_tag(session: Session, reference: RegistryReference, subject: Digest) -> tuple[Json, list[Any]]:
    """The index that the tag names and its rows, as they are: what others wrote in it stays. Raises RegistryError."""
    place = RegistryReference(registry=reference.registry, repository=reference.repository, tag=tag_of(subject))
    try:
        descriptor, data = manifests.read(session, place)
        value = decode_object(data, "list of referrers")
    except NotFound:
        return {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": []}, []
    except CodecError as problem:
        raise RegistryError(
            f"the list of referrers cannot be read: {printable(str(problem))}", where=str(place)
        ) from None
    rows = value.get("manifests")
    if descriptor.media_type != mediatype.OCI_INDEX or not isinstance(rows, list):
        raise RegistryError(
            "the tag that lists referrers names something else",
            where=str(place),
            hint="remove the tag, or build with --no-evidence",
        )
    return value, rows


def _add(session: Session, reference: RegistryReference, subject: Digest, wanted: Sequence[Descriptor]) -> None:
    """Add rows to the list of the tag scheme, and make sure that they stay there."""
    place = RegistryReference(registry=reference.registry, repository=reference.repository, tag=tag_of(subject))
    for attempt in range(1, _TRIES + 1):
        if attempt > 2:
            session.retrier.pause(attempt - 2)
        value, rows = _by_tag(session, reference, subject)
        there = {json.dumps(row.get("digest")) for row in rows if isinstance(row, dict)}
        missing = [row for row in wanted if json.dumps(str(row.digest)) not in there]
        if not missing:
            return
        value["manifests"] = [*rows, *(encode_descriptor(row) for row in missing)]
        manifests.write(session, place, mediatype.OCI_INDEX, canonical(value))
    raise RegistryError(
        "the list of referrers was changed by others over and over", where=str(place), hint="push again"
    )


def _add_layers(session: Session, reference: RegistryReference, referrer: Referrer) -> None:
    """Put the layers behind those that others have put under the tag (cosign, specs/SIGNATURE_SPEC.md)."""
    place = RegistryReference(registry=reference.registry, repository=reference.repository, tag=referrer.tag)
    own = decode_object(referrer.manifest_bytes, "manifest")
    wanted = own["layers"]
    # What a new tag names is about several documents, so it has nothing that is one's alone.
    plain = {key: own[key] for key in ("schemaVersion", "mediaType", "config")}
    for attempt in range(1, _TRIES + 1):
        if attempt > 2:
            session.retrier.pause(attempt - 2)
        try:
            value = decode_object(manifests.read(session, place)[1], "manifest")
        except NotFound:
            value = plain
        except CodecError as problem:
            raise RegistryError(f"a signature cannot be read: {printable(str(problem))}", where=str(place)) from None
        there = list(value.get("layers") or [])
        missing = [row for row in wanted if row not in there]
        if not missing:
            return
        data = canonical({**value, "layers": [*there, *missing]})
        manifests.write(session, place, str(value["mediaType"]), data)
    raise RegistryError("the signatures were changed by others over and over", where=str(place), hint="push again")
