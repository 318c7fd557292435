"""What the dynamic loader would do, told from the files: ld.so(8) for glibc, ldso/dynlink.c for musl.

One process is followed: the interpreter with its own libraries first, then one file that it loads. Nothing that
the CPU decides is decided here: a library that is only in a ``glibc-hwcaps`` folder counts as found.
"""

import functools
import posixpath
import re
from collections.abc import Iterator
from typing import Final

from dpbuild.debian import ldcache
from dpbuild.elf.facts import ElfFacts
from dpbuild.frozen import frozen
from dpbuild.model.facts import Facts
from dpbuild.stages.facts_libraries import MULTIARCH
from dpbuild.stages.proof.subject import Subject

_CACHE: Final = "/etc/ld.so.cache"
_HWCAPS: Final = "glibc-hwcaps"
# ldso/dynlink.c, load_library: names that musl takes for itself.
_OWN_OF_MUSL: Final = tuple(f"lib{row}." for row in ("c", "pthread", "rt", "m", "dl", "util", "xnet"))
_MUSL_DEFAULT: Final = ("/lib", "/usr/local/lib", "/usr/lib")


@frozen
class Loaded:
    """A file in the process: ``path`` as the loader opened it, ``by`` what asked for it."""

    path: str
    elf: ElfFacts
    by: "Loaded | None" = None


@frozen
class Missing:
    """A library that is not found; ``passed`` are files of that name that are for another machine."""

    library: str
    wanted_by: str
    passed: tuple[tuple[str, str], ...] = ()


@frozen
class Outdated:
    """A symbol version that ``found``, the library that is loaded, does not define."""

    library: str
    wanted_by: str
    version: str
    found: str
    newest: str


@frozen
class Outcome:
    """How loading one file ended: it works if nothing is missing and nothing outdated."""

    loaded: tuple[Loaded, ...]
    missing: tuple[Missing, ...] = ()
    outdated: tuple[Outdated, ...] = ()


class Loader:
    """The loader of one image; ``facts`` are the subject's.

    ``program`` is what is started, if that is not the interpreter.
    """

    def __init__(self, subject: Subject, facts: Facts, program: str = "") -> None:
        self._subject = subject
        self._facts = facts
        self._main = program or facts.interpreter
        self._musl = facts.libc.kind == "musl"
        self._where: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._searched: dict[tuple[str, tuple[str, ...]], tuple[str | None, tuple[tuple[str, str], ...]]] = {}

    @functools.cached_property
    def interpreter(self) -> tuple[Loaded, ...]:
        """What is loaded when the interpreter has started: itself, its libraries, those of LD_PRELOAD."""
        return self.started.loaded

    @functools.cached_property
    def started(self) -> Outcome:
        """How starting the program ends."""
        path = self._main
        elf = self._subject.scan(path).elf
        if elf is None:
            return Outcome(loaded=())
        main = Loaded(path=path, elf=elf)
        first = [main]
        for name in re.split(r"[: ]+", self._subject.config.variable("LD_PRELOAD") or ""):
            found = self.search(name, main)[0] if name else None
            if found is not None:
                first.append(found)
        return self._load(first, 0, {}, {})

    def load(self, path: str, already: tuple[Loaded, ...] = ()) -> Outcome:
        """dlopen of the file at ``path`` in the interpreter, where ``already`` was loaded before.

        Raises ValueError if the file is none that could be looked at.
        """
        elf = self._subject.scan(path).elf
        if elf is None:
            raise ValueError(path)
        names, reals = self._started
        return self._load([*already, Loaded(path=path, elf=elf)], len(already), names, reals)

    def find(self, name: str) -> str | None:
        """The file that dlopen of this name opens in the interpreter; None if there is none."""
        if not self.interpreter:
            return None
        for row in self.interpreter:
            if name in _names(row):
                return row.path
        found, _ = self.search(name, self.interpreter[0])
        return None if found is None else found.path

    @functools.cached_property
    def _started(self) -> tuple[dict[str, Loaded], dict[str | None, Loaded]]:
        """What is loaded when the interpreter has started, by the names of each, and by its real path."""
        names: dict[str, Loaded] = {}
        for row in self.interpreter:
            for name in _names(row):
                names.setdefault(name, row)
        return names, {self._subject.real(row.path): row for row in self.interpreter}

    def _load(
        self, rows: list[Loaded], before: int, names: dict[str, Loaded], reals: dict[str | None, Loaded]
    ) -> Outcome:
        """Load ``rows``, of which the first ``before`` and what ``names`` and ``reals`` hold are loaded already."""
        names, reals = dict(names), dict(reals)
        for row in rows:
            for name in _names(row):
                names.setdefault(name, row)
            reals[self._subject.real(row.path)] = row
        loaded = rows[before:]
        missing: list[Missing] = []
        for row in loaded:
            for name in row.elf.needed:
                if name in names or self._is_musl(name):
                    continue
                found, passed = self.search(name, row)
                if found is None:
                    missing.append(Missing(library=name, wanted_by=row.path, passed=passed))
                    continue
                real = self._subject.real(found.path)
                known = reals.setdefault(real, found)
                names[name] = known
                if known is found:
                    loaded.append(found)
                    for own in _names(found):
                        names.setdefault(own, found)
        outdated = () if self._musl else tuple(_outdated(loaded, names))
        return Outcome(loaded=tuple(loaded), missing=tuple(missing), outdated=outdated)

    def _is_musl(self, name: str) -> bool:
        return self._musl and name.startswith(_OWN_OF_MUSL)

    def search(self, name: str, by: Loaded) -> tuple[Loaded | None, tuple[tuple[str, str], ...]]:
        """The file that is loaded for a name that is not in the process yet, and those that were passed over."""
        if "/" in name:
            path = self._expand(name, by.path)
            elf = self._subject.scan(path).elf
            fits = elf is not None and self._fits(elf)
            return (Loaded(path=path, elf=elf, by=by) if fits and elf is not None else None), ()
        folders = self._folders_of(by)
        key = (name, folders)
        if key not in self._searched:
            self._searched[key] = self._look(name, folders)
        path_, passed = self._searched[key]
        if path_ is None:
            return None, passed
        elf = self._subject.scan(path_).elf
        return (Loaded(path=path_, elf=elf, by=by) if elf is not None else None), passed

    def _look(self, name: str, folders: tuple[str, ...]) -> tuple[str | None, tuple[tuple[str, str], ...]]:
        passed: dict[str, str] = {}
        cached = [self.cache[name]] if name in self.cache else []
        for folder in (*folders, "", *self.default_directories):
            # The cache comes between what the files and Env say and the folders that are built in.
            for path in cached if not folder else [f"{folder}/{name}", *self._hwcaps(folder, name)]:
                if not self._subject.tree.is_file(path):
                    continue
                elf = self._subject.scan(path).elf
                if elf is None:
                    passed[path] = "no ELF file"
                elif self._fits(elf):
                    return path, tuple(passed.items())
                else:
                    passed[path] = f"for {elf.machine}"
        return None, tuple(passed.items())

    def _hwcaps(self, folder: str, name: str) -> list[str]:
        rows = () if self._musl else self._subject.tree.children(f"{folder}/{_HWCAPS}")
        return [f"{folder}/{_HWCAPS}/{row}/{name}" for row in rows]

    def _fits(self, elf: ElfFacts) -> bool:
        main = self.interpreter_elf
        return main is None or (elf.machine, elf.bits) == (main.machine, main.bits)

    @functools.cached_property
    def interpreter_elf(self) -> ElfFacts | None:
        """The interpreter itself."""
        return self._subject.scan(self._main).elf

    def _folders_of(self, by: Loaded) -> tuple[str, ...]:
        """Where a library that ``by`` needs is looked for, before the cache and the folders that are built in."""
        chain = [by]
        while chain[-1].by is not None:
            chain.append(chain[-1].by)
        key = tuple(row.path for row in chain)
        if key not in self._where:
            self._where[key] = tuple(self._folders(by, chain))
        return self._where[key]

    def _folders(self, by: Loaded, chain: list[Loaded]) -> Iterator[str]:
        if self._musl:
            rows = list(self._library_path)
            rows += [self._expand(row, each.path) for each in chain for row in each.elf.runpath or each.elf.rpath]
        else:
            rows = []
            if not by.elf.runpath:
                main = Loaded(path=self._main, elf=self.interpreter_elf or by.elf)
                for each in chain if chain[-1].path == main.path else [*chain, main]:
                    if not each.elf.runpath:
                        rows += [self._expand(row, each.path) for row in each.elf.rpath]
            rows += [self._expand(row, self._main) for row in self._library_path]
            rows += [self._expand(row, by.path) for row in by.elf.runpath]
        for row in dict.fromkeys(rows):
            folder = posixpath.normpath(row if row.startswith("/") else f"{self._subject.working_dir}/{row}")
            if self._subject.tree.is_directory(folder):
                yield folder

    @functools.cached_property
    def _library_path(self) -> tuple[str, ...]:
        return tuple(filter(None, re.split("[:;]", self._subject.config.variable("LD_LIBRARY_PATH") or "")))

    def _expand(self, path: str, origin: str) -> str:
        """Dynamic string tokens (ld.so(8)); ``origin`` is the file that they stand in."""
        values = {"ORIGIN": posixpath.dirname(origin), "LIB": self._lib, "PLATFORM": self._facts.machine}
        return re.sub(r"\$(?:\{(\w+)\}|(ORIGIN|LIB|PLATFORM))", lambda row: values.get(row[1] or row[2], row[0]), path)

    @property
    def _lib(self) -> str:
        multiarch = MULTIARCH.get(self._facts.machine, "")
        if any(row == f"/lib/{multiarch}" for row in self.default_directories):
            return f"lib/{multiarch}"
        return "lib64" if "/lib64" in self.default_directories else "lib"

    @functools.cached_property
    def default_directories(self) -> tuple[str, ...]:
        """What is searched last: built into the loader, or named by musl's path file."""
        subject, path = self._subject, self._facts.libc.loader
        if self._musl:
            name = posixpath.basename(path)
            elf = self.interpreter_elf
            if elf is not None and "ld-musl-" in elf.interp:
                name = posixpath.basename(elf.interp)
            text = subject.contents.get(f"/etc/{name.partition('.so')[0]}.path")
            rows = re.split(r"[:\n]", text.decode("utf-8", "replace")) if text is not None else []
            return tuple(row for row in rows if row) or _MUSL_DEFAULT
        if folders := subject.scan(path).folders:
            return folders
        multiarch = MULTIARCH.get(self._facts.machine, "")
        rows = [f"{prefix}/lib/{multiarch}" for prefix in ("", "/usr")] if multiarch else []
        return (*rows, "/lib64", "/usr/lib64", "/lib", "/usr/lib")

    @functools.cached_property
    def cache(self) -> dict[str, str]:
        """``/etc/ld.so.cache`` in its order: the path of each soname; empty without one."""
        data = None if self._musl else self._subject.contents.get(_CACHE)
        try:
            rows = ldcache.read(data) if data else ()
        except ValueError:
            return {}
        elf = self.interpreter_elf
        flags = ldcache.flags_of(elf.machine, elf.bits) if elf else None
        found: dict[str, str] = {}
        for row in sorted(rows, key=lambda row: bool(row.hwcaps)):
            if flags is None or row.flags == flags:
                found.setdefault(row.soname, row.path)
        return found


def _names(row: Loaded) -> tuple[str, ...]:
    """What a request may call a file that is loaded: its soname, and the name that it was found by."""
    found = (row.elf.soname, posixpath.basename(row.path) if row.by is not None else "")
    return tuple(name for name in found if name)


def _outdated(loaded: list[Loaded], names: dict[str, Loaded]) -> Iterator[Outdated]:
    """_dl_check_map_versions: every version that is wanted must be defined, unless it is wanted weakly.

    A library without any versions is only warned about.
    """
    for row in loaded:
        weak = {(library, version) for library, versions in row.elf.verneed_weak for version in versions}
        for library, versions in row.elf.verneed:
            found = names.get(library)
            if found is None or not found.elf.verdef:
                continue
            defined = set(found.elf.verdef)
            for version in versions:
                if version not in defined and (library, version) not in weak:
                    prefix = version.rpartition("_")[0] + "_"
                    newest = found.elf.newest(prefix)
                    text = prefix + ".".join(map(str, newest)) if newest else ""
                    yield Outdated(library=library, wanted_by=row.path, version=version, found=found.path, newest=text)
