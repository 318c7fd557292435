"""The layers of composed bases: made once, kept in the store by what they are made of."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from dpbuild.archive import read
from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.debian import deb, files, ldcache
from dpbuild.debian.suites import Item, Suite
from dpbuild.elf import reader
from dpbuild.elf.facts import ElfFacts
from dpbuild.errors import BaseImageError
from dpbuild.frozen import frozen
from dpbuild.oci import mediatype
from dpbuild.oci.codec import canonical
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import Store
from dpbuild.stages.layers.plain import write_items

# Part of every key: to be raised whenever the same packages give other bytes.
FORMAT: Final = 1
_CONFIGURATION: Final = "etc/ld.so.conf"


@frozen
class Made:
    """A layer in the store; ``size`` is unpacked, in bytes."""

    descriptor: Descriptor
    diff_id: Digest
    size: int


def key_of(*parts: object) -> str:
    """A key for the store: the hash of everything that decides."""
    return hashlib.sha256(canonical([FORMAT, *parts])).hexdigest()


class LostLayer(Exception):
    """A layer turned out to be damaged, and the store has thrown it away; it can be made again."""


class Layers:
    """Makes and finds layers; may be used from several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @staticmethod
    def key(suite: Suite, item: Item, sha256: str) -> str:
        """The key of the layer of ``item``; a package's own layer is the same in every suite."""
        if item.step in ("package", "busybox", "cacerts"):
            return key_of("debian", item.step, item.package, sha256)
        return key_of("debian", item.step, suite.name)

    def find(self, key: str) -> Made | None:
        """The layer that was kept under ``key``, if its blob is here."""
        data = self._store.get("layers", key)
        if data is None:
            return None
        try:
            row = json.loads(data)
            made = Made(
                descriptor=Descriptor(
                    media_type=mediatype.OCI_LAYER_GZIP, digest=Digest.parse(row["digest"]), size=int(row["size"])
                ),
                diff_id=Digest.parse(row["diff_id"]),
                size=int(row["unpacked"]),
            )
        except (ValueError, KeyError, TypeError):
            return None
        return made if self._store.has(made.descriptor.digest) else None

    def make(self, suite: Suite, item: Item, sha256: str, package: bytes) -> Made:
        """The layer of ``item``, which is not the loader's cache. Raises BaseImageError, StoreError."""
        try:
            return self._write(self.key(suite, item, sha256), _entries(suite, item, package))
        except deb.DebError as problem:
            raise BaseImageError(f"the package {item.package} cannot be read: {problem}") from None

    def ldconfig_cache(self, lower: tuple[Made, ...], libc_version: str) -> Made:
        """The layer with ``/etc/ld.so.cache`` over ``lower``, lowest first. Raises LostLayer, StoreError."""
        name = ldcache.generator(libc_version)
        key = key_of("debian", "ldconfig_cache", name, [str(row.descriptor.digest) for row in lower])
        found = self.find(key)
        if found is None:
            found = self._write(key, files.ldconfig_cache(self._ld_so_cache(lower, name)))
        return found

    def _ld_so_cache(self, lower: tuple[Made, ...], generator: str) -> bytes:
        contents: dict[tuple[int, int], bytes] = {}
        facts: dict[tuple[int, int], ElfFacts] = {}
        layers = []
        for number, made in enumerate(lower):
            rows = []
            for ordinal, (entry, content) in enumerate(self._read(made)):
                rows.append(entry)
                if content is None or entry.kind is not Kind.FILE:
                    continue
                if entry.path.startswith(_CONFIGURATION):
                    contents[number, ordinal] = content
                elif ".so" in entry.path.rpartition("/")[2] and reader.is_elf(content):
                    try:
                        facts[number, ordinal] = reader.read(content)
                    except reader.ElfError:
                        continue
            layers.append(rows)
        tree = FileTree.of(layers)
        return ldcache.make(
            tree,
            lambda path: contents[tree.origin(path)],
            lambda path: facts.get(tree.origin(path)),
            generator,
        )

    def _read(self, made: Made) -> Iterator[tuple[Entry, bytes | None]]:
        try:
            file = self._store.open(made.descriptor.digest)
        except KeyError:
            raise LostLayer from None
        with file as blob:
            stream, _ = read.open_layer(blob, limit=made.size)
            for entry, content in read.entries(stream):
                yield entry, content.read() if content is not None else None

    def _write(self, key: str, items: Iterable[files.Item]) -> Made:
        layer = write_items(self._store, items, "")
        made = Made(descriptor=layer.descriptor, diff_id=layer.diff_id, size=layer.size)
        digest, size = made.descriptor.digest, made.descriptor.size
        row = {"digest": str(digest), "size": size, "diff_id": str(made.diff_id), "unpacked": made.size}
        self._store.put("layers", key, canonical(row))
        return made


def _entries(suite: Suite, item: Item, package: bytes) -> Iterable[files.Item]:
    makers: dict[str, Callable[[], Iterable[files.Item]]] = {
        "package": lambda: files.package(package, item.package),
        "rootfs": files.rootfs,
        "passwd": files.passwd,
        "home": files.home,
        "group": files.group,
        "tmp": files.tmp,
        "nsswitch": files.nsswitch,
        "os_release": lambda: files.os_release(suite),
        "cacerts": lambda: files.cacerts(package, item.package),
        "busybox": lambda: files.busybox(package, item.package),
        "python_aliases": lambda: files.python_aliases(suite),
    }
    return makers[item.step]()
