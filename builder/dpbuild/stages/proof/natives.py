"""What cannot be loaded, and what that does to the imports: found once for all rules of ABI and LIB.

Most images have nothing that cannot be loaded, and then no source is read.
"""

import functools
from collections.abc import Iterable, Iterator
from typing import Final, Literal

from dpbuild.frozen import field, frozen
from dpbuild.model.facts import Facts
from dpbuild.model.finding import Severity
from dpbuild.stages.proof.extensions import Extension, Misfit, Module, misfit, modules
from dpbuild.stages.proof.loader import Loader, Outcome
from dpbuild.stages.proof.sources import TESTS, Use
from dpbuild.stages.proof.subject import Subject
from dpbuild.stages.proof.tracing.finder import Finder
from dpbuild.stages.proof.tracing.graph import Graph, Source
from dpbuild.stages.proof.tracing.libraries import Libraries, names_of
from dpbuild.stages.proof.tracing.trace import Budget, Trace, Tracer
from dpbuild.stages.proof.tracing.values import Cause

_USES: Final[dict[str, Literal["find", "open"]]] = {"find_library": "find", "load_library": "open"}
# Windows' own libraries, which sources name without an ending.
_WINDOWS: Final = frozenset(
    {"advapi32", "dbghelp", "gdi32", "iphlpapi", "kernel32", "mpr", "msvcrt", "ntdll", "ole32", "psapi", "rpcrt4"}
    | {"secur32", "setupapi", "shell32", "shlwapi", "ucrtbase", "user32", "version", "winmm", "winspool", "ws2_32"}
)

_MOST_TEXT: Final = 128 << 20
# How many modules that import something broken are tried.
_MOST_PARTS: Final = 3


@frozen
class Bad:
    """An extension module that cannot be loaded, and why: a misfit, a file that is cut off, or libraries."""

    extension: Extension
    misfit: Misfit | None = None
    broken: str = ""
    outcome: Outcome | None = None


@frozen
class Lookup:
    """A library that a source asks for by its name, and that is not found."""

    kind: Literal["find", "open"]
    name: str
    path: str
    line: int
    guarded: bool


@frozen
class Natives:
    """``fails`` are the packages whose import fails, by what it fails of, ``parts`` modules of packages that can be
    imported themselves; ``seen`` is what failed and was caught,
    ``loaded`` the extension modules that were loaded well, ``elsewhere`` the libraries that packages bring,
    ``folders`` where the system's libraries are.
    """

    folders: tuple[str, ...] = ()
    bad: tuple[Bad, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    fails: dict[Cause, str] = field(default_factory=dict)
    parts: dict[Cause, str] = field(default_factory=dict)
    seen: frozenset[Cause] = frozenset()
    loaded: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()

    def failing(self, path: str) -> str:
        """The module whose import fails because the file at ``path`` cannot be loaded; "" for none."""
        rows = (*self.fails.items(), *self.parts.items())
        return next((module for cause, module in rows if (cause.kind, cause.name) == ("load", path)), "")

    def _whole(self, path: str) -> bool:
        return any((cause.kind, cause.name) == ("load", path) for cause in self.fails)

    def severity(self, bad: Bad) -> Severity | None:
        """How bad it is that this cannot be loaded; None if something else loads first what it needs."""
        path = bad.extension.path
        if path in self.loaded:
            return None
        # What is for another Python or machine is never there on purpose.
        if self._whole(path) or (bad.misfit is not None and self.failing(path)):
            return Severity.ERROR
        # What a package brings but nothing was seen to import, such as plugins, may never be wanted; what it needs
        # and another package brings, that one may load first.
        missing = bad.outcome.missing if bad.outcome is not None and not bad.outcome.outdated else ()
        brought = bool(missing) and all(row.library in self.elsewhere for row in missing)
        optional = (bad.extension.plain or brought) and not self.failing(path)
        return Severity.NOTE if optional else Severity.WARNING


@functools.lru_cache(maxsize=2)
def natives(subject: Subject) -> Natives:
    """What cannot be loaded in this image."""
    facts = subject.facts
    if facts is None or subject.scan(facts.interpreter).elf is None:
        return Natives()
    loader = Loader(subject, facts)
    every = tuple(modules(subject, facts))
    bad = tuple(found for row in every if (found := _bad(row, subject, facts, loader)) is not None)
    sources = tuple(_sources(subject, facts))
    finder = Finder(subject, facts, every)
    libraries = Libraries(subject, facts, loader)
    lookups = tuple(row for row in _lookups(sources) if _unresolved(row, libraries))
    targets = {row.extension.module for row in bad if _is_traced(row, facts)}
    targets |= {_module(row.path, subject) for row in lookups}
    parts = {row.extension.module for row in bad if not row.extension.plain}
    parts |= {_module(row.path, subject) for row in lookups if row.name}
    targets, parts = targets - {""}, (parts & targets) - {""}
    traces = tuple(_traces(subject, facts, loader, finder, bad, frozenset(targets), frozenset(parts)))
    return Natives(
        folders=(*loader.default_directories, "/usr/local/lib"),
        bad=bad,
        lookups=tuple(row for row in lookups if row.name),
        fails={cause: row.module for row in reversed(traces) if row.fails and row.whole for cause in row.causes},
        parts={cause: row.module for row in reversed(traces) if row.fails and not row.whole for cause in row.causes},
        seen=frozenset(cause for trace in traces for cause in trace.seen),
        loaded=frozenset(path for trace in traces for path in trace.loaded),
        elsewhere=names_of(subject, facts),
    )


def _bad(module: Module, subject: Subject, facts: Facts, loader: Loader) -> Bad | None:
    row = module.used or min(module.others, key=lambda other: (other.plain, other.path))
    scan = subject.scan(row.path)
    if (found := misfit(row, scan.elf, facts)) is not None:
        return Bad(extension=row, misfit=found)
    if scan.elf is None:
        return Bad(extension=row, broken=scan.broken)
    if scan.elf.type != "shared":
        return None
    outcome = loader.load(row.path)
    return Bad(extension=row, outcome=outcome) if outcome.missing or outcome.outdated else None


def _is_traced(bad: Bad, facts: Facts) -> bool:
    """Libraries at the top are no modules; the standard library has parts that bases leave out on purpose."""
    if bad.extension.path.startswith(f"{facts.stdlib}/lib-dynload/"):
        return bad.outcome is None or not bad.outcome.missing
    return not (bad.extension.plain and bad.extension.module.startswith("lib"))


def _sources(subject: Subject, facts: Facts) -> Iterator[tuple[str, Use]]:
    """What sources outside of the standard library ask for by name, which may be computed."""
    for path, scan in subject.scanned.items():
        for use in scan.uses:
            if use.kind in _USES and (not path.startswith(f"{facts.stdlib}/") or "-packages/" in path):
                yield path, use


def _module(path: str, subject: Subject) -> str:
    """The full name of the module in a source file; "" where it is on no folder of ``sys.path``."""
    folders = {real for row in subject.sys_path if (real := subject.real(row))}
    folder = path.rpartition("/")[0]
    while folder and folder not in folders:
        folder = folder.rpartition("/")[0]
    name = path[len(folder) + 1 :].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return name if folder and all(part.isidentifier() for part in name.split(".")) else ""


def _root(name: str, finder: Finder) -> str:
    """What has to be imported before the module ``name``: its first parent that is not only a folder."""
    first, *rest = name.split(".")
    while rest and finder.find(first).kind == "namespace":
        first = f"{first}.{rest.pop(0)}"
    return first


def _traces(
    subject: Subject,
    facts: Facts,
    loader: Loader,
    finder: Finder,
    bad: tuple[Bad, ...],
    targets: frozenset[str],
    parts: frozenset[str],
) -> Iterator[Trace]:
    """How the imports of the packages of ``targets`` go, and of modules that import one of ``parts``."""
    texts = _texts(subject, roots := sorted({_root(name, finder) for name in targets}))
    misfits = frozenset(row.extension.path for row in bad if row.misfit is not None)
    broken = frozenset(row.extension.path for row in bad if row.extension.plain)

    budget = Budget()

    def trace(name: str, followed: frozenset[str], *, whole: bool) -> Trace:
        libraries = Libraries(subject, facts, loader, misfits=misfits, broken=broken)
        return Tracer(subject, facts, libraries, finder, followed, budget).trace(name, whole=whole)

    graph = Graph(texts)
    followed = graph.relevant(roots, targets) | frozenset(targets)
    whole = [trace(root, followed, whole=True) for root in roots]
    yield from whole
    # What importing the package does not come to, importing a part of it may.
    failing = {row.module for row in whole if row.fails}
    for target in sorted(parts):
        if _root(target, finder) not in failing:
            names = [name for name in graph.importers(target) if not TESTS.search(f"/{name.replace('.', '/')}/")]
            for name in names[:_MOST_PARTS]:
                yield trace(name, graph.relevant([name], [target]) | {name, target}, whole=False)


def _texts(subject: Subject, roots: list[str]) -> dict[str, Source]:
    """The sources of these packages, by module."""
    tops = {root.partition(".")[0] for root in roots}
    folders = {real[1:] for row in subject.sys_path for top in tops if (real := subject.real(f"{row}/{top}"))}
    files = {real[1:] for row in subject.sys_path for top in tops if (real := subject.real(f"{row}/{top}.py"))}
    prefixes = tuple(f"{row}/" for row in folders)
    paths = [path for path in subject.tree.paths() if path.endswith(".py")]
    wanted = list(_bounded(subject, (path for path in paths if path in files or path.startswith(prefixes))))
    subject.contents.prefetch(wanted)
    found: dict[str, Source] = {}
    for path in wanted:
        name = _module("/" + path, subject)
        if name:
            text = subject.contents.get(path) or b""
            found.setdefault(name, Source(text, path.endswith("/__init__.py")))
    return found


def _bounded(subject: Subject, paths: Iterable[str]) -> Iterator[str]:
    """As many as fit into memory; no honest package has more sources."""
    left = _MOST_TEXT
    for path in paths:
        entry = subject.tree.follow(path)
        left -= entry.size if entry is not None else 0
        if left < 0:
            return
        yield path


def _lookups(sources: Iterable[tuple[str, Use]]) -> Iterator[Lookup]:
    for path, use in sources:
        yield Lookup(kind=_USES[use.kind], name=use.name, path=path, line=use.line, guarded=use.guarded)


def _unresolved(row: Lookup, libraries: Libraries) -> bool:
    """Whether it is not found, or may not be, because the name is computed."""
    if not row.name:
        return True
    name = row.name.lower()
    if name.endswith((".dll", ".dylib")) or "\\" in name or "/" in name or name in _WINDOWS:
        return False
    if row.kind == "find":
        return libraries.find_library(row.name) is None
    return bool(libraries.open(row.name, row.path, row.line, cffi=True))
