"""Which file an import leads to, as the path based finder decides it."""

import posixpath
import sys
from collections.abc import Iterable
from typing import Literal

from dpbuild.frozen import frozen
from dpbuild.model.facts import Facts
from dpbuild.stages.proof.extensions import Module as ExtensionModule
from dpbuild.stages.proof.subject import Subject


@frozen
class Place:
    """Where a module is. ``folders`` are where its submodules are; ``own`` says that it is not the standard
    library's. Of a ``namespace`` there is no file, of a ``missing`` one nothing at all.
    """

    kind: Literal["source", "extension", "bytecode", "namespace", "builtin", "missing"]
    path: str = ""
    folders: tuple[str, ...] = ()
    own: bool = False


class Finder:
    """Finds modules in one image; ``extensions`` are all that could be modules of some Python."""

    def __init__(self, subject: Subject, facts: Facts, extensions: Iterable[ExtensionModule]) -> None:
        self._subject = subject
        self._facts = facts
        self._known: dict[str, Place] = {}
        # Those that this interpreter passes over, by folder and name: an import of them fails.
        self._unusable = {
            (posixpath.dirname(row.others[0].real), row.name.rpartition(".")[2]): row.others[0].path
            for row in extensions
            if row.used is None
        }

    def find(self, name: str) -> Place:
        """Where the module with this full name is."""
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> Place:
        parent, _, last = name.rpartition(".")
        # What is compiled into the interpreter has no file; which that is, differs from build to build.
        if not parent and (last in sys.builtin_module_names or last == "__main__"):
            return Place(kind="builtin")
        folders = self.find(parent).folders if parent else self._subject.sys_path
        portions: list[str] = []
        for folder in folders:
            place = self._in(folder, last)
            if place is not None and place.kind != "namespace":
                return place
            if place is not None:
                portions += place.folders
        if portions:
            return Place(kind="namespace", folders=tuple(portions), own=True)
        if not parent and (last in sys.stdlib_module_names or last.startswith("_")):
            return Place(kind="builtin")
        return Place(kind="missing")

    def _in(self, folder: str, last: str) -> Place | None:
        tree, inner = self._subject.tree, f"{folder}/{last}"
        own = self._is_own(folder)
        if tree.is_file(f"{inner}/__init__.py"):
            return Place(kind="source", path=f"{inner}/__init__.py", folders=(inner,), own=own)
        if tree.is_file(f"{inner}/__init__.pyc"):
            return Place(kind="bytecode", path=f"{inner}/__init__.pyc", folders=(inner,), own=own)
        for suffix in self._facts.extension_suffixes:
            if tree.is_file(f"{inner}{suffix}"):
                return Place(kind="extension", path=f"{inner}{suffix}", own=own)
        if tree.is_file(f"{inner}.py"):
            return Place(kind="source", path=f"{inner}.py", own=own)
        if tree.is_file(f"{inner}.pyc"):
            return Place(kind="bytecode", path=f"{inner}.pyc", own=own)
        if (path := self._unusable.get((self._subject.real(folder) or "", last))) is not None:
            return Place(kind="extension", path=path, own=own)
        if tree.is_directory(inner):
            return Place(kind="namespace", folders=(inner,), own=own)
        return None

    def _is_own(self, folder: str) -> bool:
        def below(root: str) -> bool:
            return f"{folder}/".startswith(f"{root}/")

        return not below(self._facts.stdlib) or any(below(site) for site in self._facts.site_directories)
