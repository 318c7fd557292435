"""The scans of an image's layers, kept in the store under each layer's digest."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from dpbuild.archive.budget import Budget
from dpbuild.archive.decompress import ReadError, limit_of
from dpbuild.archive.overlay import FileTree, OverlayError
from dpbuild.archive.read import entries, open_layer
from dpbuild.errors import BaseImageError
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import Store
from dpbuild.stages import inventory
from dpbuild.stages.contents import opened
from dpbuild.stages.proof.scan import FORMAT, LayerScan, scan
from dpbuild.stages.proof.scan_codec import decode, encode

_THREADS: Final = 4


def scan_layers(
    layers: tuple[Descriptor, ...],
    diff_ids: tuple[Digest, ...],
    store: Store,
    fetch: Callable[[Descriptor], object],
) -> tuple[LayerScan, ...]:
    """What is in each layer, lowest first; ``fetch`` brings a layer into the store that is not there.

    Raises BaseImageError for a layer that cannot be read or is not what the config's diffID says.
    """

    budget = Budget(sum(layer.size for layer in layers))

    def one(pair: tuple[Descriptor, Digest]) -> LayerScan:
        return _kept(store, pair[0]) or _made(store, *pair, fetch, budget)

    with ThreadPoolExecutor(_THREADS) as pool:
        return tuple(pool.map(one, zip(layers, diff_ids, strict=True)))


def tree_of(scans: tuple[LayerScan, ...]) -> FileTree:
    """The files that the layers make. Raises BaseImageError."""
    try:
        return FileTree.of(row.entries for row in scans)
    except OverlayError as problem:
        raise BaseImageError(f"the layers do not fit on each other: {problem}") from None


def _key(layer: Descriptor) -> str:
    return f"scan-{layer.digest.hex}-{FORMAT}"


def _kept(store: Store, layer: Descriptor) -> LayerScan | None:
    data = store.get("facts", _key(layer))
    if data is None:
        return None
    try:
        return decode(data)
    except ValueError:
        return None  # from another version


def _made(
    store: Store, layer: Descriptor, diff_id: Digest, fetch: Callable[[Descriptor], object], budget: Budget
) -> LayerScan:
    if not store.has(layer.digest):
        fetch(layer)
    watch = inventory.Watch()
    with opened(store, layer) as stream:
        try:
            tar, raw = open_layer(stream, limit=limit_of(layer.size))
            found = scan(watch.over(budget.counted(entries(tar), raw)))
        except ReadError as problem:
            raise BaseImageError(f"a layer cannot be read: {problem}", where=str(layer.digest)) from None
    if raw.digest() != diff_id.hex:
        raise BaseImageError(
            f"a layer unpacks to sha256:{raw.digest()}, but the config's diffID is {diff_id}", where=str(layer.digest)
        )
    store.put("facts", _key(layer), encode(found))
    # Evidence asks for it next, and the layer is not read again for that.
    inventory.keep(store, layer, watch.inventory)
    return found
