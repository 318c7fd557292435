"""Blobs: read with verification and resumption, written with a mount or one streamed PUT."""

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from dpbuild.adapters.registry.auth import pull, push
from dpbuild.adapters.registry.errors import bare
from dpbuild.adapters.registry.pace import FLOOR
from dpbuild.adapters.registry.retry import TRANSIENT
from dpbuild.adapters.registry.session import Request, Session
from dpbuild.adapters.registry.transport import Answer, ConnectionFailed
from dpbuild.errors import NotFound, RegistryError, Unauthorized
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import RegistryReference

# How often a download is taken up again without progress, and how often an upload is tried.
RESUMES = 3
UPLOADS = 4
_OK = frozenset({200})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


def blob_path(reference: RegistryReference, digest: Digest) -> str:
    """The path of a blob in the API."""
    return f"/v2/{reference.repository}/blobs/{digest}"


def has(session: Session, reference: RegistryReference, digest: Digest) -> bool:
    """Whether the repository has the blob: one HEAD."""
    answer = session.call(
        Request(
            registry=reference.registry,
            repository=reference.repository,
            method="HEAD",
            target=blob_path(reference, digest),
            scopes=frozenset({pull(reference.repository)}),
            doing=f"cannot look for {digest} in {reference.name}",
            accept=frozenset({200, 404}),
        )
    )
    answer.finish()
    return answer.status == 200


def read(session: Session, reference: RegistryReference, descriptor: Descriptor) -> Iterator[bytes]:
    """The bytes of a blob; the last are followed by RegistryError if digest or size differ.

    A broken connection is taken up where it broke, again and again as long as every few tries bring a fair piece.
    """
    hasher = hashlib.sha256()
    offset = 0
    failures = 0
    while True:
        before = offset
        broken: RegistryError | None = None
        try:
            answer, skip = _open(session, reference, descriptor, offset)
            try:
                for chunk in answer.chunks():
                    piece = chunk[skip:]
                    skip -= len(chunk) - len(piece)
                    if not piece:
                        continue
                    offset += len(piece)
                    if offset > descriptor.size:
                        raise _differs(session, reference, descriptor, f"more than {descriptor.size} bytes")
                    hasher.update(piece)
                    yield piece
            finally:
                answer.close()
        except ConnectionFailed as failed:
            broken = failed.error
        if offset == descriptor.size:
            # Everything is here, however the connection ended.
            break
        failures = failures + 1 if offset - before < FLOOR else 0
        if failures > RESUMES:
            if broken is not None:
                raise broken
            raise _differs(session, reference, descriptor, f"{offset} bytes")
        session.retrier.pause(failures + 1)
    if hasher.hexdigest() != descriptor.digest.hex:
        raise _differs(session, reference, descriptor, f"sha256:{hasher.hexdigest()}")


def _open(session: Session, reference: RegistryReference, descriptor: Descriptor, offset: int) -> tuple[Answer, int]:
    """A blob from ``offset`` on, and how many bytes to skip because the registry starts earlier."""
    answer = session.call(
        Request(
            registry=reference.registry,
            repository=reference.repository,
            method="GET",
            target=blob_path(reference, descriptor.digest),
            scopes=frozenset({pull(reference.repository)}),
            doing=f"cannot read {descriptor.digest} from {reference.name}",
            accept=frozenset({200, 206}) if offset else _OK,
            headers=(("Range", f"bytes={offset}-"),) if offset else (),
        )
    )
    if answer.status == 200:
        return answer, offset
    match = _CONTENT_RANGE.match(answer.header("Content-Range"))
    start = int(match[1]) if match else offset
    if start > offset:
        answer.close()
        raise RegistryError(
            f"cannot read {descriptor.digest} from {reference.name}: asked for bytes from {offset} on, got {start}",
            where=bare(answer.url),
        )
    return answer, offset - start


def _differs(session: Session, reference: RegistryReference, descriptor: Descriptor, got: str) -> RegistryError:
    return RegistryError(
        f"{reference.name} gave something else for the blob {descriptor.digest} ({descriptor.size} bytes): {got}",
        where=session.url(reference.registry, blob_path(reference, descriptor.digest)),
        hint="the registry or something between here and it is damaged; nothing of it was used",
    )


class Upload:
    """One blob on its way into a repository."""

    def __init__(
        self,
        session: Session,
        reference: RegistryReference,
        descriptor: Descriptor,
        content: Callable[[], BinaryIO],
    ) -> None:
        self._session = session
        self._reference = reference
        self._descriptor = descriptor
        self._content = content
        self._doing = f"cannot send {descriptor.digest} to {reference.name}"

    def mount(self, repository: str) -> str | None:
        """Ask for a mount from another repository of the same registry (distribution spec, "Mounting a blob").

        Returns None if that is done, "" if it cannot be, otherwise the address of the upload that the
        registry began instead.
        """
        query = f"?mount={quote(str(self._descriptor.digest), safe='')}&from={quote(repository, safe='')}"
        try:
            answer = self._post(query, frozenset({push(self._reference.repository), pull(repository)}))
        except (NotFound, Unauthorized):
            # Some registries refuse a mount from where the login may not read; sending the bytes may work.
            return ""
        answer.finish()
        return None if answer.status == 201 else self._location(answer)

    def send(self, location: str = "") -> None:
        """Send the bytes, to an upload that was begun or else to a new one; tried again from the beginning."""
        for attempt in range(1, UPLOADS + 1):
            last = attempt == UPLOADS
            try:
                if attempt > 1 and has(self._session, self._reference, self._descriptor.digest):
                    # The bytes had arrived; only the answer was lost.
                    return
                answer = self._put(location or self._begin(), last=last)
            except ConnectionFailed as failed:
                if last or not failed.connected:
                    raise
            else:
                answer.finish()
                if answer.status not in TRANSIENT and answer.status != 404:
                    return
            # A new upload each time: what became of the old one is unknown.
            location = ""
            self._session.retrier.pause(attempt)

    def _begin(self) -> str:
        answer = self._post("", frozenset({push(self._reference.repository)}))
        answer.finish()
        return self._location(answer)

    def _post(self, query: str, scopes: frozenset[str]) -> Answer:
        return self._session.call(
            Request(
                registry=self._reference.registry,
                repository=self._reference.repository,
                method="POST",
                target=f"/v2/{self._reference.repository}/blobs/uploads/{query}",
                scopes=scopes,
                doing=self._doing,
                accept=frozenset({202, 201}) if query else frozenset({202}),
                headers=(("Content-Length", "0"),),
            )
        )

    def _put(self, location: str, *, last: bool) -> Answer:
        joint = "&" if urlsplit(location).query else "?"
        size = self._descriptor.size
        return self._session.call(
            Request(
                registry=self._reference.registry,
                repository=self._reference.repository,
                method="PUT",
                target=f"{location}{joint}digest={quote(str(self._descriptor.digest), safe='')}",
                scopes=frozenset({push(self._reference.repository)}),
                doing=self._doing,
                # 404: the registry forgot the upload, for example because it was restarted.
                accept=frozenset({200, 201, 204}) | (frozenset() if last else TRANSIENT | {404}),
                headers=(("Content-Length", str(size)), ("Content-Type", "application/octet-stream")),
                body=lambda: Exactly(self._content(), size, self._doing),
                attempts=1,
            )
        )

    def _location(self, answer: Answer) -> str:
        return self._session.resolve(self._doing, answer.url, answer.header("Location"))


class Exactly:
    """A body of exactly ``size`` bytes. One that is shorter would leave the registry waiting for the rest."""

    def __init__(self, file: BinaryIO, size: int, doing: str) -> None:
        self._file = file
        self._left = size
        self._doing = doing

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes. Raises RegistryError if the file has fewer or more than it should."""
        data = self._file.read(size if size >= 0 else io.DEFAULT_BUFFER_SIZE)
        self._left -= len(data)
        if self._left < 0 or (not data and self._left):
            raise RegistryError(f"{self._doing}: its file does not have the size that it should")
        if not data:
            self._file.close()
        return data
