"""Which repositories of a registry were seen to have which blobs: from there the next project's image mounts them.

What is remembered may be wrong by now; a registry that does not mount begins an upload instead, so nothing is lost.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import RegistryReference
from dpbuild.ports.store import Store

_KIND: Final = "homes"
# Of each registry the repositories that were written last, and of each the largest layers.
_MOST_REPOSITORIES: Final = 24
_MOST_BLOBS: Final = 160
# Sending what is smaller takes no longer than asking for it, in bytes.
SMALLEST: Final = 64 << 10


def recall(store: Store | None, place: RegistryReference) -> Mapping[Digest, RegistryReference]:
    """From which other repositories of the registry blobs can be mounted, as far as is remembered."""
    found: dict[Digest, RegistryReference] = {}
    for repository, digests in _read(store, place.registry):
        if repository != place.repository:
            home = RegistryReference(registry=place.registry, repository=repository)
            found.update({digest: home for row in digests if (digest := Digest(row)) not in found})
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
