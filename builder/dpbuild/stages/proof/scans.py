"""The scans of an image's layers, kept in the store under each layer's digest."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from weakref import WeakKeyDictionary

from dpbuild.archive.budget import Budget
from dpbuild.archive.overlay import FileTree, OverlayError
from dpbuild.errors import BaseImageError
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import Store
from dpbuild.stages import inventory
from dpbuild.stages.contents import read_layer
from dpbuild.stages.proof.scan import EMPTY, FORMAT, FileScan, LayerScan, scan
from dpbuild.stages.proof.scan_codec import decode, encode

_THREADS: Final = 4


def scan_layers(
    layers: tuple[Descriptor, ...],
    diff_ids: tuple[Digest, ...],
    store: Store,
    fetch: Callable[[Descriptor], object],
    *,
    take_inventory: bool = True,
    threads: int = _THREADS,
) -> tuple[LayerScan, ...]:
    """What is in each layer, lowest first; ``fetch`` brings a layer into the store that is not there.

    With ``take_inventory`` a layer that has to be read gives its inventory, too, so that evidence need not read it
    again; that takes hashing every file. Raises BaseImageError for a layer that cannot be read or is not what the
    config's diffID says.
    """
    budget = Budget(sum(layer.size for layer in layers))

    def one(pair: tuple[Descriptor, Digest]) -> LayerScan:
        return _made(store, *pair, fetch, budget, take_inventory=take_inventory)

    pairs = tuple(zip(layers, diff_ids, strict=True))
    found = {number: _kept(store, layer) for number, layer in enumerate(layers)}
    # The largest first: the last one to finish should be a small one.
    order = sorted((number for number, row in found.items() if row is None), key=lambda number: -layers[number].size)
    if order:
        with ThreadPoolExecutor(threads) as pool:
            found |= zip(order, pool.map(one, (pairs[number] for number in order)), strict=True)
    return tuple(row for row in found.values() if row is not None)


def scan_there(
    store: Store, argument: tuple[tuple[Descriptor, ...], tuple[Digest, ...]], progress: Callable[[int], object]
) -> None:
    """For a helper: leave the scans and inventories of layers in the store, which has these; with their diffIDs.

    Raises BaseImageError.
    """
    layers, diff_ids = argument
    # Threads of one process would wait for each other; a helper is there to use one processor.
    scan_layers(layers, diff_ids, store, lambda layer: None, threads=1)
    progress(sum(layer.size for layer in layers))


# A build asks twice for what is in its image: to prove it, and to list it.
_NEWEST: WeakKeyDictionary[Store, tuple[tuple[Digest, ...], tuple[LayerScan, ...], FileTree]] = WeakKeyDictionary()


def merged(
    layers: tuple[Descriptor, ...],
    diff_ids: tuple[Digest, ...],
    store: Store,
    fetch: Callable[[Descriptor], object],
    *,
    take_inventory: bool = True,
) -> tuple[tuple[LayerScan, ...], FileTree]:
    """As ``scan_layers``, with the files that the layers make. Raises BaseImageError."""
    key = tuple(layer.digest for layer in layers)
    known = _NEWEST.get(store)
    if known is None or known[0] != key:
        scans = scan_layers(layers, diff_ids, store, fetch, take_inventory=take_inventory)
        known = _NEWEST[store] = (key, scans, tree_of(scans))
    return known[1], known[2]


def tree_of(scans: tuple[LayerScan, ...]) -> FileTree:
    """The files that the layers make. Raises BaseImageError."""
    try:
        return FileTree.of(row.entries for row in scans)
    except OverlayError as problem:
        raise BaseImageError(f"the layers do not fit on each other: {problem}") from None


def file_scan(tree: FileTree, scans: tuple[LayerScan, ...], path: str) -> FileScan:
    """What is known of the content of the file that ``path`` leads to; empty where it is no file."""
    try:
        layer, number = tree.origin(path)
    except KeyError:
        return EMPTY
    return scans[layer].files.get(number, EMPTY)


def keep(store: Store, layer: Descriptor, found: LayerScan) -> None:
    """Remember what is in a layer."""
    store.put("facts", _key(layer), encode(found))


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
    store: Store,
    layer: Descriptor,
    diff_id: Digest,
    fetch: Callable[[Descriptor], object],
    budget: Budget,
    *,
    take_inventory: bool,
) -> LayerScan:
    if not store.has(layer.digest):
        fetch(layer)
    if not take_inventory:
        found = read_layer(layer, store, scan, diff_id=diff_id, budget=budget)
    else:
        watch = inventory.Watch()
        found = read_layer(layer, store, lambda rows: scan(watch.over(rows)), diff_id=diff_id, budget=budget)
        inventory.keep(store, layer, watch.inventory)
    keep(store, layer, found)
    return found
