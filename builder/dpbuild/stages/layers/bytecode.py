"""Which files of a layer get bytecode, and the layer of the standard library's."""

from collections.abc import Sequence
from typing import Final

from dpbuild.archive.deflate import Splicer
from dpbuild.archive.entry import Kind
from dpbuild.model.base import Base
from dpbuild.model.layer import Layer
from dpbuild.ports.reporter import Reporter
from dpbuild.ports.store import Store
from dpbuild.stages.bytecode import bytecode_path, wanted
from dpbuild.stages.contents import Contents
from dpbuild.stages.layers.content import Archived, Data, FromFile
from dpbuild.stages.layers.kept import find
from dpbuild.stages.layers.own import make_own, own_key, planned_data
from dpbuild.stages.layers.site import Site
from dpbuild.stages.layers.wheels import Planned

_LARGEST: Final = 64 << 20
# What is installed beside the standard library is not part of it.
_SITES: Final = frozenset({"site-packages", "dist-packages"})


def compile_planned(
    site: Site, planned: Sequence[Planned], splicer: Splicer, *, checked: bool, root: str = ""
) -> tuple[tuple[str, bytes], ...]:
    """The bytecode of all modules among ``planned`` below ``root`` (default: the site directory)."""
    if site.compiler is None:
        return ()
    top = (root or site.facts.purelib).lstrip("/") + "/"
    sources = []
    for each in planned:
        if each.target or not each.path.startswith(top) or not wanted(each.path[len(top) :]):
            continue
        if each.content.size <= _LARGEST:
            sources.append((f"/{each.path}", _source(each, splicer)))
    return site.compiler.compile(sources, checked=checked) if sources else ()


def _source(planned: Planned, splicer: Splicer) -> bytes:
    content = planned.content
    if isinstance(content, Archived):
        return content.data(splicer)
    if isinstance(content, Data):
        return content.data
    if isinstance(content, FromFile) and content.file.open is not None:
        with content.file.open() as file:
            return file.read()
    return b""


def standard_library(site: Site, store: Store, contents: Contents, reporter: Reporter) -> tuple[Layer, ...]:
    """A layer with the bytecode of the base's standard library; none without a compiler.

    It is checked against its sources when it is used, so that a newer base below it wins. What names the
    machine (``_sysconfigdata``) is left out: the layer is one blob for all machines.
    """
    if site.compiler is None:
        return ()
    paths = standard_modules(site.base)
    if not paths:
        return ()
    comment = "bytecode of the standard library"
    key = own_key(site, [], 0, ["standard library", site.facts.interpreter_sha256, site.facts.stdlib])
    layer = find(store, key, comment)
    if layer is not None:
        return (layer,)
    with store.alone("layer", key):
        layer = find(store, key, comment)
        if layer is not None:
            return (layer,)
        with reporter.step("compiling the standard library"):
            contents.prefetch(paths)
            sources = [(f"/{path}", data) for path in paths if (data := contents.get(path, _LARGEST)) is not None]
            compiled = site.compiler.compile(sources, checked=True)
        planned = [planned_data(path, data, "the standard library's bytecode") for path, data in compiled]
        return (make_own(site, store, planned, comment, key=key),) if planned else ()


def standard_modules(base: Base) -> list[str]:
    """The base's standard-library modules that have no bytecode yet, sorted."""
    tree = base.tree
    tag = "cpython-" + "".join(str(part) for part in base.facts.minor)
    top = base.facts.stdlib.lstrip("/")
    found = []
    folders = [top]
    while folders:
        folder = folders.pop()
        for name in tree.children(folder):
            path = f"{folder}/{name}"
            entry = tree.get(path)
            if entry is None:
                continue
            inner = path[len(top) + 1 :]
            if entry.kind is Kind.DIRECTORY and inner not in _SITES:
                folders.append(path)
            elif entry.kind is Kind.FILE and wanted(inner) and tree.get(bytecode_path(path, tag, 0)) is None:
                found.append(path)
    return sorted(found)
