"""Layers that were made before: the store's mapping from a layer's key to its blob."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from dpbuild import __version__
from dpbuild.model.artifact import Artifact
from dpbuild.model.layer import Layer
from dpbuild.oci.codec import canonical
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import Store
from dpbuild.stages.layers.conflicts import label_of
from dpbuild.stages.layers.site import Site


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


def together(numbers: Mapping[tuple[Artifact, ...], int], site: Site) -> str:
    """The key of what was found out of these wheels on this base; "" where it cannot be told in a few words."""
    if site.owners:
        return ""
    wheels = [[number, named(members)] for members, number in numbers.items()]
    gone = [[name, sorted(paths)] for name, paths in site.replaced]
    value = [__version__, *site.key(), str(site.base.descriptor.digest), wheels, gone]
    return f"together-{hashlib.sha256(canonical(value)).hexdigest()}"


def named(members: Iterable[Artifact]) -> list[list[object]]:
    """What of wheels is part of keys."""
    return [[each.name, each.version, each.filename, each.digest.hex, each.locked] for each in members]


def recall(
    store: Store, key: str, groups: Iterable[tuple[Artifact, ...]]
) -> tuple[tuple[Layer, ...], frozenset[str]] | None:
    """The layers of all groups, whose wheels were seen not to conflict; None unless all are there."""
    kept = store.get("layers", key)
    if kept is None:
        return None
    value = json.loads(kept)
    layers: list[Layer] = []
    for members, keys in zip(groups, value["keys"], strict=True):
        found = find_all(store, members, keys)
        if found is None:
            return None
        layers += found
    return tuple(layers), frozenset(value["scripts"])


def find_all(store: Store, members: tuple[Artifact, ...], keys: Sequence[str]) -> tuple[Layer, ...] | None:
    """The layers of a group; None unless all are there."""
    found = [find(store, key, comment) for key, comment in zip(keys, comments_of(members, len(keys)), strict=True)]
    layers = tuple(layer for layer in found if layer is not None)
    return layers if len(layers) == len(found) else None


def comments_of(members: tuple[Artifact, ...], number: int) -> tuple[str, ...]:
    """What the history says of a group's layers."""
    whole = ", ".join(label_of(each) for each in members)
    return (whole,) if number == 1 else tuple(f"{whole} ({part} of {number})" for part in range(1, number + 1))
