"""Layers that were made before: the store's mapping from a layer's key to its blob."""

import json

from dpbuild.model.layer import Layer
from dpbuild.oci.codec import canonical
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import Store


def find(store: Store, key: str, comment: str) -> Layer | None:
    """The layer that was made for this key, if its blob is still in the store."""
    kept = store.get("layers", key)
    if kept is None:
        return None
    digest, size, diff_id, unpacked, media_type = json.loads(kept)
    if not store.has(Digest(digest)):
        return None
    return Layer(
        descriptor=Descriptor(media_type=media_type, digest=Digest(digest), size=size),
        diff_id=Digest(diff_id),
        comment=comment,
        size=unpacked,
        kept=True,
    )


def keep(store: Store, key: str, layer: Layer) -> None:
    """Remember the layer under its key."""
    row = layer.descriptor
    store.put("layers", key, canonical([row.digest.hex, row.size, layer.diff_id.hex, layer.size, row.media_type]))
