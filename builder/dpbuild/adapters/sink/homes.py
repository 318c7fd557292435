"""Which blobs repositories of a registry have: by what a tag names now, and by what was seen of other repositories,
from where the next project's image mounts them.

What is remembered may be wrong by now; a registry that does not mount begins an upload instead, so nothing is lost.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final

from dpbuild.adapters.sink.place import Place
from dpbuild.errors import NotFound
from dpbuild.model.image import Images
from dpbuild.oci import mediatype
from dpbuild.oci.codec import CodecError, decode
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Index, Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import RegistryReference
from dpbuild.ports.source import ImageSource
from dpbuild.ports.store import Store

if TYPE_CHECKING:
    from concurrent.futures import Executor

_KIND: Final = "homes"
# Of each registry the repositories that were written last, and of each the largest layers.
_MOST_REPOSITORIES: Final = 24
_MOST_BLOBS: Final = 160
# Sending what is smaller takes no longer than asking for it, in bytes.
SMALLEST: Final = 64 << 10


class Named:
    """A manifest or index under a tag, ``data``; what is no image names nothing. ``source`` reads what it names."""

    def __init__(self, source: ImageSource, descriptor: Descriptor, data: bytes) -> None:
        self._source = source
        self._found: Manifest | Index | None = None
        with contextlib.suppress(CodecError):
            self._found = decode(data, descriptor.media_type)
        # An index tells of none itself.
        self.blobs = _blobs(self._found)

    def parts(self, platforms: AbstractSet[Platform], threads: Callable[[], Executor]) -> frozenset[Digest]:
        """Everything that the repository has with it, as far as it is for one of ``platforms``: one GET for each that
        an index has. Raises the registry errors.
        """
        if not isinstance(self._found, Index):
            return self.blobs
        rows = [row for row in self._found.manifests if row.platform in platforms]
        try:
            texts = threads().map(self._source.manifest, rows)
            below = [decode(text, row.media_type) for row, text in zip(rows, texts, strict=True)]
        except (NotFound, CodecError):
            return frozenset()
        return frozenset(row.digest for row in rows).union(*map(_blobs, below))


def recall(store: Store | None, place: RegistryReference) -> Mapping[Digest, RegistryReference]:
    """From which other repositories of the registry blobs can be mounted, as far as is remembered."""
    found: dict[Digest, RegistryReference] = {}
    for repository, digests in _read(store, place.registry):
        if repository != place.repository:
            home = RegistryReference(registry=place.registry, repository=repository)
            found.update({digest: home for row in digests if (digest := Digest(row)) not in found})
    return found


def beside(images: Images, place: Place) -> Mapping[Digest, RegistryReference]:
    """From which repositories of the registry blobs can be mounted that this build has written or read."""
    found: dict[Digest, RegistryReference] = {}
    sibling = next((row for row in place.siblings if row.registry == place.reference.registry), None)
    if sibling is not None:
        for image in images.images:
            rows = (*image.manifest.layers, image.manifest.config)
            found.update(dict.fromkeys((row.digest for row in rows), sibling))
    for image in images.images:
        base = image.base
        if isinstance(base, RegistryReference) and base.registry == place.reference.registry:
            for row in image.manifest.layers[: image.base_layers]:
                found.setdefault(row.digest, base)
    return found


def remember(store: Store | None, place: RegistryReference, blobs: Iterable[Descriptor]) -> None:
    """The repository has these blobs now."""
    if store is None:
        return
    large = sorted((row for row in blobs if row.size >= SMALLEST), key=lambda row: (-row.size, row.digest))
    digests = [row.digest.hex for row in large[:_MOST_BLOBS]]
    rows = _read(store, place.registry)
    known = next((each for name, each in rows if name == place.repository), [])
    # An edit of the app changes no large layer; then nothing is written.
    if set(digests) <= set(known):
        return
    rows = [(place.repository, digests), *(row for row in rows if row[0] != place.repository)]
    store.put(_KIND, place.registry, json.dumps(rows[:_MOST_REPOSITORIES]).encode())


def _read(store: Store | None, registry: str) -> list[tuple[str, list[str]]]:
    data = store.get(_KIND, registry) if store is not None else None
    if data is None:
        return []
    try:
        return [
            (str(name), [Digest.parse(f"sha256:{row}").hex for row in digests]) for name, digests in json.loads(data)
        ]
    except (ValueError, TypeError):
        return []


def _blobs(found: Manifest | Index | None) -> frozenset[Digest]:
    if not isinstance(found, Manifest):
        return frozenset()
    return frozenset(row.digest for row in (found.config, *found.layers))


def is_image(head: Descriptor | None) -> bool:
    """Whether it is said to be an image or an index."""
    return head is not None and head.media_type in mediatype.MANIFESTS | mediatype.INDEXES


def is_small(row: Descriptor) -> bool:
    """Whether asking for it first takes longer than sending what is there."""
    return row.size < SMALLEST
