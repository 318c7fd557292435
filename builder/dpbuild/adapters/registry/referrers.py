"""What refers to a manifest: the referrers API, and the tag scheme where a registry has none.

OCI distribution spec, "Listing Referrers", "Pushing Manifests with Subject", "Referrers Tag Schema". There the list
is an index that clients maintain. Nothing in the spec makes changing it atomic, so it is read again after it
was written: whoever was overtaken adds what is missing once more.

What refers to a manifest may be put before it ("Pushing Manifests"); that not every registry takes it is the
caller's to know.
"""

import json
import re
from collections.abc import Mapping, Sequence
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
# Rows of lists in the tag scheme, by the subject.
Lists = Mapping[Digest, Sequence[Descriptor]]

_PAGES: Final = 50
# Manifests put and lists read at a time.
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


def attach(session: Session, reference: RegistryReference, referrers: Sequence[Referrer]) -> Lists:
    """Put the manifests, whose blobs are there, and list them where the registry does not do that itself.

    Returns what was added to lists that others may write, too; see ``stay``.
    """
    for row in referrers:
        if row.tag:
            _add_layers(session, reference, row)

    def put(row: Referrer) -> bool:
        where = reference.at(row.descriptor.digest)
        return manifests.write(session, where, row.descriptor.media_type, row.manifest_bytes)

    def add(subject: Digest) -> bool:
        return _add(session, reference, subject, unlisted[subject], lists[subject].result())

    # They do not refer to each other. Most registries keep no list, so that of the tag scheme is read meanwhile.
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        listed_there = [pool.submit(put, row) for row in referrers]
        subjects = dict.fromkeys(row.subject.digest for row in referrers)
        lists = {subject: pool.submit(_by_tag, session, reference, subject) for subject in subjects}
        unlisted: dict[Digest, list[Descriptor]] = {}
        for row, known in zip(referrers, listed_there, strict=True):
            if not known.result():
                unlisted.setdefault(row.subject.digest, []).append(row.descriptor)
        # Rows of a list have to be there before it is.
        added = list(pool.map(add, unlisted))
    return {subject: rows for (subject, rows), new in zip(unlisted.items(), added, strict=True) if new}


def stay(session: Session, reference: RegistryReference, lists: Lists) -> None:
    """Make sure that what was added to lists stays there: whoever writes one at the same time may undo it."""
    for subject, rows in lists.items():
        for attempt in range(1, _TRIES):
            if attempt > 1:
                session.retrier.pause(attempt - 1)
            if not _add(session, reference, subject, rows, _by_tag(session, reference, subject)):
                break
        else:
            raise RegistryError(
                "the list of referrers was changed by others over and over",
                where=str(_list_of(reference, subject)),
                hint="push again",
            )


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
    place = _list_of(reference, subject)
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


def _add(
    session: Session,
    reference: RegistryReference,
    subject: Digest,
    wanted: Sequence[Descriptor],
    found: tuple[Json, list[Any]],
) -> bool:
    """Add rows to the list of the tag scheme, as it was found; returns whether any was missing."""
    value, rows = found
    there = {json.dumps(row.get("digest")) for row in rows if isinstance(row, dict)}
    missing = [row for row in wanted if json.dumps(str(row.digest)) not in there]
    if missing:
        whole = canonical({**value, "manifests": [*rows, *(encode_descriptor(row) for row in missing)]})
        manifests.write(session, _list_of(reference, subject), mediatype.OCI_INDEX, whole)
    return bool(missing)


def _list_of(reference: RegistryReference, subject: Digest) -> RegistryReference:
    return RegistryReference(registry=reference.registry, repository=reference.repository, tag=tag_of(subject))


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
