"""The layer with the loader's cache, so that what was added to the base is found as what it brought along.

``ctypes.util.find_library`` asks nothing but this cache.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dpbuild.archive.entry import Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.archive.read import ReadError, entries, open_layer
from dpbuild.debian import files, ldcache
from dpbuild.elf import reader
from dpbuild.elf.facts import ElfFacts
from dpbuild.errors import StoreError
from dpbuild.model.base import Base
from dpbuild.model.facts import Facts
from dpbuild.model.layer import Layer
from dpbuild.oci.codec import canonical
from dpbuild.ports.store import Store
from dpbuild.stages.contents import Contents
from dpbuild.stages.layers.kept import find, keep
from dpbuild.stages.layers.plain import write_items

FORMAT: Final = 1
_COMMENT: Final = "ld.so.cache"
_CONFIGURATION: Final = ldcache.CONFIGURATION.lstrip("/")


def cache_layer(base: Base, tree: FileTree, layers: Sequence[Layer], contents: Contents, store: Store) -> Layer:
    """``/etc/ld.so.cache`` for ``tree``: the base, whose files ``contents`` reads, and ``layers`` on top of it.

    Raises BaseImageError, StoreError.
    """
    name = ldcache.generator(_libc(base.facts))
    value = ["ld.so.cache", FORMAT, name, base.descriptor.digest.hex, [layer.diff_id.hex for layer in layers]]
    key = hashlib.sha256(canonical(value)).hexdigest()
    found = find(store, key, _COMMENT)
    if found is not None:
        return found
    data = _cache(base.tree, tree, _added(layers, store), contents, name)
    etc = tree.get("etc")
    items = ((etc, b""),) if etc is not None else (files.directory("etc"),)
    layer = write_items(store, (*items, *files.ldconfig_cache(data)), _COMMENT)
    keep(store, key, layer)
    return layer


@dataclass(slots=True)
class _Added:
    """What the layers bring, by real path: texts of the loader's configuration, and libraries."""

    texts: dict[str, bytes]
    libraries: dict[str, ElfFacts | None]


def _cache(below: FileTree, tree: FileTree, added: _Added, contents: Contents, name: str) -> bytes:
    def content(path: str) -> bytes:
        return added.texts[path] if path in added.texts else contents.get(path) or b""

    def inspect(path: str) -> ElfFacts | None:
        return added.libraries[path] if path in added.libraries else _elf(contents.get(path) or b"")

    folders = ldcache.directories(tree, content)
    contents.prefetch(f"{folder}/{child}" for folder in folders for child in below.children(folder) if ".so" in child)
    return ldcache.make(tree, content, inspect, name)


def _added(layers: Sequence[Layer], store: Store) -> _Added:
    out = _Added({}, {})
    for layer in layers:
        try:
            with store.open(layer.descriptor.digest) as blob:
                stream, _ = open_layer(blob, limit=layer.size)
                for entry, data in entries(stream):
                    if entry.kind is Kind.HARDLINK and entry.target in out.libraries:
                        out.libraries[entry.path] = out.libraries[entry.target]
                    elif entry.kind is not Kind.FILE or data is None:
                        continue
                    elif entry.path.startswith(_CONFIGURATION):
                        out.texts[entry.path] = data.read()
                    elif ".so" in entry.path.rpartition("/")[2]:
                        out.libraries[entry.path] = _elf(data.read())
        except ReadError as problem:
            where = str(layer.descriptor.digest)
            raise StoreError(f"a layer in the store cannot be read: {problem}", where=where) from None
    return out


def _elf(data: bytes) -> ElfFacts | None:
    try:
        return reader.read(data) if reader.is_elf(data) else None
    except reader.ElfError:
        return None


def _libc(facts: Facts) -> str:
    """The version of Debian's package, which the cache names."""
    versions = (row.version for row in facts.packages if row.name == "libc6")
    return next(versions, ".".join(map(str, facts.libc.version)))
