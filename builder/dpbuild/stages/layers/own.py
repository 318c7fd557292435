"""Layers of files that are not from locked wheels: the app, and what dpbuild makes itself."""

import hashlib
from collections.abc import Sequence

from dpbuild.archive.deflate import Splicer
from dpbuild.archive.entry import Entry
from dpbuild.model.layer import Layer
from dpbuild.oci.codec import canonical
from dpbuild.ports.store import Store
from dpbuild.stages.layers import write
from dpbuild.stages.layers.content import Data
from dpbuild.stages.layers.kept import keep
from dpbuild.stages.layers.site import Site
from dpbuild.stages.layers.wheels import Planned


def planned_data(path: str, data: bytes, owner: str, mode: int = 0o644) -> Planned:
    """A file that dpbuild makes."""
    identity = ("sha256", hashlib.sha256(data).digest())
    return Planned(path=path.lstrip("/"), mode=mode, content=Data(data), identity=identity, owner=owner)


def own_key(site: Site, planned: Sequence[Planned], mtime: int, more: Sequence[object]) -> str:
    """The key of a layer with these files."""
    surroundings = write.Placement(site.base.tree, site.owners).surroundings(each.path for each in planned)
    files = sorted([each.path, each.mode, each.target, each.identity[0], each.identity[1].hex()] for each in planned)
    return hashlib.sha256(canonical([*site.key(), "own", files, mtime, surroundings, list(more)])).hexdigest()


def make_own(
    site: Site,
    store: Store,
    planned: Sequence[Planned],
    comment: str,
    *,
    key: str,
    mtime: int = write.MTIME,
    changed: Sequence[Entry] = (),
) -> Layer:
    """Write such a layer and remember it; ``changed`` are folders of the base that get another mode.

    Raises PathConflict, LayerError, StoreError.
    """
    placement = write.Placement(site.base.tree, site.owners)
    files = write.merge((placement.place(each.path, each.owner, site.gone), each) for each in planned)
    parents = write.parents([*files, *(entry.path for entry in changed)])
    folders = [*(placement.entry(folder) for folder in parents), *changed]
    splicer = Splicer()
    try:
        observer = site.observer(store) if site.observer is not None else None
        layer = write.write(store, splicer, files, folders, comment, mtime=mtime, observer=observer)
    finally:
        splicer.close()
    keep(store, key, layer)
    return layer
