"""Evidence on its way into a repository: before any tag names what it is about."""

import hashlib
import io
import threading
from collections.abc import Callable, Sequence
from typing import Final

from dpbuild.adapters.sink.place import given_up
from dpbuild.errors import RateLimited, RegistryError, Unauthorized
from dpbuild.model.image import Document, Images, Referrer
from dpbuild.oci import mediatype
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.reference import RegistryReference
from dpbuild.ports.registry import Registry
from dpbuild.ports.store import Store

_KIND: Final = "attached"


def attach(
    registry: Registry,
    place: RegistryReference,
    images: Images,
    store: Store | None,
    *,
    new: bool,
    subject: Callable[[], None],
) -> Callable[[], None]:
    """Attach what is not attached yet. ``new`` says that no tag of the repository names the image so far; ``subject``
    puts it there without one, for a registry that takes no evidence before.

    Where a tag does, ``store`` remembers what was attached there; else the list of what refers to the image answers
    for all of it, because it is the last to be written. What is returned looks once more whether all of it stayed
    attached, which may be done while tags are put.
    """
    whole, rows = images.descriptor, images.referrers_in(place.name)
    key = hashlib.sha256(" ".join([place.name, *(str(row.descriptor.digest) for row in rows)]).encode()).hexdigest()
    if not new:
        if store is not None and store.get(_KIND, key) is not None:
            return _done
        there = {row.digest for row in registry.referrers(place, whole.digest)}
        if all(row.descriptor.digest in there for row in rows if row.subject.digest == whole.digest):
            _remember(store, key)
            return _done
    for row in blobs(images, place):
        push(registry, place, row)
    stay = _attach(registry, place, rows, subject if new else None)

    def finish() -> None:
        stay()
        _remember(store, key)

    return finish


def _attach(
    registry: Registry, place: RegistryReference, rows: Sequence[Referrer], subject: Callable[[], None] | None
) -> Callable[[], None]:
    """With the subject before it where that has to be."""
    try:
        return registry.attach(place, rows)
    except (Unauthorized, RateLimited):
        raise
    except RegistryError:
        # Distribution spec, "Push": a registry takes a manifest whose subject is not there. Some do not (GitLab's), and
        # which error they give is their own affair.
        if subject is None:
            raise
    subject()
    return registry.attach(place, rows)


def blobs(images: Images, place: RegistryReference) -> tuple[Document, ...]:
    """What the evidence for a repository consists of, every blob once."""
    rows = images.referrers_in(place.name)
    return tuple({each.descriptor.digest: each for row in rows for each in row.blobs}.values())


def is_shared(blob: Descriptor) -> bool:
    """Whether it is the empty config, which is there from the first artifact on; all else is of one image alone."""
    return blob.media_type == mediatype.OCI_EMPTY


def push(
    registry: Registry,
    place: RegistryReference,
    row: Document,
    *,
    fresh: bool = False,
    stop: threading.Event | None = None,
) -> None:
    """One of them; ``fresh`` as in ``Registry.push_blob``; it is given up when ``stop`` is set. Raises the registry
    errors.
    """
    if stop is None or not stop.is_set():
        registry.push_blob(place, row.descriptor, lambda: _Content(row.read(), stop), fresh=fresh)


class _Content(io.BytesIO):
    """Bytes that are not read on when ``stop`` is set."""

    def __init__(self, data: bytes, stop: threading.Event | None) -> None:
        super().__init__(data)
        self._stop = stop

    def read(self, size: int | None = -1, /) -> bytes:
        """As io.BytesIO. Raises RegistryError."""
        if self._stop is not None and self._stop.is_set():
            raise given_up()
        return super().read(size)


def _remember(store: Store | None, key: str) -> None:
    if store is not None:
        store.put(_KIND, key, b"attached")


def _done() -> None:
    """Nothing is left to do."""
