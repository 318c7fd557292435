"""Evidence on its way into a repository: behind what it is about, and before any tag names that."""

import hashlib
import io
from typing import Final

from dpbuild.model.image import Images
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.reference import RegistryReference
from dpbuild.ports.registry import Registry
from dpbuild.ports.store import Store

_KIND: Final = "attached"


def attach(registry: Registry, place: RegistryReference, images: Images, store: Store | None, *, new: bool) -> None:
    """Attach what is not attached yet. ``new`` says that no tag of the repository names the image so far.

    Where one does, ``store`` remembers what was attached there; else the list of what refers to the image answers
    for all of it, because it is the last to be written.
    """
    whole, rows = images.descriptor, images.referrers_in(place.name)
    key = hashlib.sha256(" ".join([place.name, *(str(row.descriptor.digest) for row in rows)]).encode()).hexdigest()
    if not new:
        if store is not None and store.get(_KIND, key) is not None:
            return
        there = {row.digest for row in registry.referrers(place, whole.digest)}
        if all(row.descriptor.digest in there for row in rows if row.subject.digest == whole.digest):
            _remember(store, key)
            return
    for descriptor, content in blobs(images, place):
        push(registry, place, descriptor, content)
    registry.attach(place, rows)
    _remember(store, key)


def blobs(images: Images, place: RegistryReference) -> tuple[tuple[Descriptor, bytes], ...]:
    """What the evidence for a repository consists of, every blob once."""
    rows = images.referrers_in(place.name)
    return tuple({descriptor.digest: (descriptor, data) for row in rows for descriptor, data in row.blobs}.values())


def push(registry: Registry, place: RegistryReference, descriptor: Descriptor, content: bytes) -> None:
    """One of them. Raises the registry errors."""
    registry.push_blob(place, descriptor, lambda: io.BytesIO(content))


def _remember(store: Store | None, key: str) -> None:
    if store is not None:
        store.put(_KIND, key, b"attached")
