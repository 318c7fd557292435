"""The libraries of a process that is followed: what is loaded, and what cannot be."""

import functools
import posixpath
import re
from collections.abc import Iterable
from typing import Final

from dpbuild.model.facts import Facts
from dpbuild.stages.facts_interpreter import which
from dpbuild.stages.proof.loader import Loaded, Loader, Outcome
from dpbuild.stages.proof.subject import Subject
from dpbuild.stages.proof.tracing.known import is_of_image
from dpbuild.stages.proof.tracing.values import UNKNOWN, Cause, Value

# What ctypes.util.find_library runs beside ldconfig.
_TOOLS: Final = ("gcc", "cc", "ld")


class Libraries:
    """``misfits`` are extension modules (as imported) that the interpreter cannot import whatever it has loaded,
    ``broken`` files that look like libraries and that it could not load at its start.
    """

    def __init__(
        self,
        subject: Subject,
        facts: Facts,
        loader: Loader,
        *,
        misfits: frozenset[str] = frozenset(),
        broken: frozenset[str] = frozenset(),
    ) -> None:
        self._subject = subject
        self._facts = facts
        self._loader = loader
        self._misfits = misfits
        self._broken = broken
        self._loaded: tuple[Loaded, ...] = ()
        self.modules: set[str] = set()

    def load(self, path: str) -> frozenset[Cause]:
        """Load an extension module; the causes if that fails for sure."""
        if path in self._misfits:
            return frozenset((Cause("load", path),))
        if self._subject.scan(path).elf is None:
            # Not even ELF: cut off, or something else.
            return frozenset((Cause("load", path),)) if self._subject.scan(path).broken else frozenset()
        outcome = self._loader.load(path, self._loaded)
        if self._fails(outcome):
            return frozenset((Cause("load", path),))
        self._loaded += outcome.loaded
        self.modules.add(path)
        return frozenset()

    def _fails(self, outcome: Outcome) -> bool:
        """What lies elsewhere in the image may have been loaded already by something that is not followed."""
        return bool(outcome.outdated) or any(not self._elsewhere(row.library) for row in outcome.missing)

    def _elsewhere(self, library: str) -> bool:
        return library in names_of(self._subject, self._facts)

    def mentioned(self, sources: Iterable[bytes]) -> frozenset[Cause]:
        """A library with a path that is not known is opened: those of the package that cannot be loaded and whose
        name one of the package's sources has.
        """
        if not self._broken:
            return frozenset()
        names = {path: posixpath.basename(path).removesuffix(".so").encode() for path in self._broken}
        texts = list(sources)
        return frozenset(Cause("load", path) for path, name in names.items() if any(name in text for text in texts))

    def open(self, name: Value, path: str, line: int, *, cffi: bool) -> frozenset[Cause]:
        """dlopen; the causes if that fails for sure."""
        if not isinstance(name, str) or not name:
            return frozenset()
        if "/" in name:
            if not name.startswith("/"):
                return frozenset()
            elf = self._subject.scan(name).elf
            if elf is None:
                gone = is_of_image(name) and not self._subject.tree.is_file(name)
                return frozenset((Cause("open", name, path, line),)) if gone else frozenset()
            found: str | None = name
        else:
            if any(name in (row.elf.soname, posixpath.basename(row.path)) for row in self._loaded):
                return frozenset()
            found = self._loader.find(name)
            if found is None and cffi:
                other = self.find_library(name)
                found = self._loader.find(other) if isinstance(other, str) else None
                if other is UNKNOWN:
                    return frozenset()
        if found is None:
            return frozenset() if self._elsewhere(name) else frozenset((Cause("open", name, path, line),))
        try:
            outcome = self._loader.load(found, self._loaded)
        except ValueError:
            return frozenset()
        if self._fails(outcome):
            return frozenset((Cause("load", found, path, line),))
        self._loaded += outcome.loaded
        return frozenset()

    def find_library(self, name: str) -> Value:
        """``ctypes.util.find_library``: a soname, None, or not known.

        It asks ``/sbin/ldconfig -p``, which prints the cache, then a compiler and a linker (Lib/ctypes/util.py).
        """
        if any(which(self._subject.tree, self._subject.config, tool) for tool in _TOOLS):
            return UNKNOWN
        ldconfig = self._subject.scan("/sbin/ldconfig")
        if ldconfig.elf is None:
            return UNKNOWN if ldconfig.shebang and which(self._subject.tree, self._subject.config, "sh") else None
        form = re.compile(rf"lib{re.escape(name)}\.[^\s]+")
        return next((row for row in self._loader.cache if form.fullmatch(row)), None)


@functools.lru_cache(maxsize=8)
def names_of(subject: Subject, facts: Facts) -> frozenset[str]:
    """The names of libraries that installed Python packages bring: their own code may load them by their paths."""
    folders = {real for site in subject.sys_path if (real := subject.real(site)) and real != facts.stdlib}
    rows: set[str] = set()
    for path, elf in subject.elves.items():
        if elf.machine == facts.machine and any(path.startswith(f"{folder}/") for folder in folders):
            rows |= {elf.soname, posixpath.basename(path)}
    return frozenset(rows - {""})
