"""One layer that is to be written, as a value: another process can do it as well as this one."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from dpbuild.archive.deflate import Splicer
from dpbuild.archive.entry import Entry
from dpbuild.frozen import frozen
from dpbuild.model.layer import Layer
from dpbuild.oci.digest import Digest
from dpbuild.ports.helper import Helper
from dpbuild.ports.store import Store
from dpbuild.stages.layers import write
from dpbuild.stages.layers.ahead import elsewhere, here
from dpbuild.stages.layers.observer import Observer
from dpbuild.stages.layers.wheels import Planned, Reader


@frozen
class Order:
    """``files`` by their path; ``readers`` are those of the wheels that these are read from; ``removed`` are paths of
    the base that the layer takes away. ``observer`` makes one for a store.
    """

    files: dict[str, Planned]
    folders: list[Entry]
    comment: str
    removed: frozenset[str]
    readers: tuple[tuple[Digest, Reader], ...]
    observer: Callable[[Store], Observer] | None


def fulfil(store: Store, order: Order, progress: Callable[[int], object], ahead: Helper | None = None) -> Layer:
    """Write it; ``ahead`` of that a helper may read the wheels.

    Raises UnsafeWheel, LayerError, StoreError, HelperLost; nothing is left then.
    """
    splicer = Splicer()
    with ExitStack() as stack:
        stack.callback(splicer.close)
        for digest, reader in order.readers:
            reader.file = stack.enter_context(store.open(digest))
        return write.write(
            store,
            splicer,
            order.files,
            order.folders,
            order.comment,
            removed=order.removed,
            progress=progress,
            observer=order.observer(store) if order.observer is not None else None,
            reading=here if ahead is None else partial(elsewhere, ahead, order.readers),
        )
