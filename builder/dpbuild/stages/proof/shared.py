"""LIB: shared libraries that are missing, too old, damaged, or asked for by a name that leads nowhere."""

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from dpbuild.model.finding import Severity
from dpbuild.stages.proof.natives import Bad, Lookup, Natives, natives
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject
from dpbuild.stages.proof.tracing.values import Cause

_LDCONFIG: Final = "/sbin/ldconfig"
_ADD: Final = (
    "add what has the library: runtime-packages in [tool.dpbuild] takes Debian packages; or take a variant of the"
    " package that brings it"
)
# Public indexes take no wheel for such a platform.
_BUILT: Final = re.compile(r"^Tag: [^-\s]+-[^-\s]+-linux_[^.\s]+$", re.MULTILINE)
_RANK: Final = {severity: rank for rank, severity in enumerate(Severity)}


def _judged(found: Natives) -> list[tuple[Severity, Bad]]:
    """What cannot be loaded because of its libraries, the worst first."""
    rows = [(severity, row) for row in found.bad if row.misfit is None and (severity := found.severity(row))]
    return sorted(rows, key=lambda row: (_RANK[row[0]], row[1].extension.path))


def _missing(subject: Subject) -> Iterator[Found]:
    """One finding for each library and package that needs it, at the first file that does."""
    found = natives(subject)
    groups: dict[tuple[str, str], list[tuple[Severity, str, str, str]]] = {}
    for severity, row in _judged(found):
        module = found.failing(row.extension.path)
        for each in row.outcome.missing if row.outcome is not None else ():
            brought = severity is Severity.ERROR and each.library in found.elsewhere
            judged = Severity.NOTE if brought else severity
            passed = "; ".join(f"{path} is {why}" for path, why in each.passed)
            entry = (judged, subject.real(each.wanted_by) or each.wanted_by, module, passed)
            groups.setdefault((each.library, subject.owner(each.wanted_by)), []).append(entry)
    names = _packages(subject, (library for library, _ in groups), (row[0] for rows in groups.values() for row in rows))
    for (library, owner), rows in groups.items():
        severity, path, module, passed = min(rows, key=lambda row: _RANK[row[0]])
        where = "only another package's folder has" if library in found.elsewhere else _nowhere(passed)
        parts = [f"needs {library}, which {where}"]
        if (count := len({row[1] for row in rows}) - 1) > 0:
            parts.append(f"so {'does 1 more file' if count == 1 else f'do {count} more files'} of the package")
        if module and severity is not Severity.NOTE:
            parts.append(f"import {module} fails")
        fix = _mend([library], names)
        if repair := _repair(subject, owner):
            fix = f"{fix or _ADD}; or {repair}"
        yield Found(path=path, evidence="; ".join(parts), severity=severity, fix=fix)


def _packages(subject: Subject, names: Iterable[str], severities: Iterable[Severity]) -> dict[str, str]:
    """The Debian package of each library. Nobody is asked for what is only noted: the answer is a large index."""
    serious = any(row is not Severity.NOTE for row in severities)
    return subject.providers(frozenset(names)) if serious else {}


def _nowhere(passed: str) -> str:
    return f"is nowhere for this machine: {passed}" if passed else "is nowhere that the dynamic loader looks"


def _mend(names: Iterable[str], known: dict[str, str]) -> str:
    packages = sorted({known[name] for name in names if name in known})
    if not packages:
        return ""
    listed = ", ".join(f'"{row}"' for row in packages)
    return f"runtime-packages = [{listed}] in [tool.dpbuild], or a variant of the package that brings the library"


def _repair(subject: Subject, owner: str) -> str:
    """What takes a missing library into the wheel of a distribution, if that wheel was built for this system."""
    row = next((row for row in subject.distributions if str(row) == owner), None)
    if row is None or not _BUILT.search(subject.scan(f"{row.info}/WHEEL").text):
        return ""
    return (
        f"build {row} with repair = true in [tool.dpbuild.recipes.{row.name}.build] (the app: in"
        " [tool.dpbuild.builder]), and the library travels inside the wheel"
    )


def _outdated(subject: Subject) -> Iterator[Found]:
    """One finding for each library that is too old and package that wants more, with the newest version wanted."""
    found = natives(subject)
    groups: dict[tuple[str, str], list[tuple[Severity, str, str, str, str]]] = {}
    for severity, row in _judged(found):
        module = found.failing(row.extension.path)
        for each in row.outcome.outdated if row.outcome is not None else ():
            path = subject.real(each.wanted_by) or each.wanted_by
            text = f"wants {each.version} of {each.library}, {each.found} has {each.newest or 'none such'}"
            groups.setdefault((each.library, subject.owner(path) or path), []).append(
                (severity, path, module, text, each.version)
            )
    for rows in groups.values():
        worst = min(_RANK[row[0]] for row in rows)
        first = [row for row in rows if _RANK[row[0]] == worst]
        severity, path, module, text, _ = max(first, key=lambda row: _number(row[4]))
        yield Found(path=path, evidence=text + (f"; import {module} fails" if module else ""), severity=severity)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.rpartition("_")[2].split(".") if part.isdigit())


def _damaged(subject: Subject) -> Iterator[Found]:
    found = natives(subject)
    for severity, row in _judged(found):
        if row.broken:
            path = subject.real(row.extension.path) or row.extension.path
            yield Found(path=path, evidence=f"it begins like a library, but {row.broken}", severity=severity)


def _by_name(subject: Subject) -> Iterator[Found]:
    found = natives(subject)
    failing: dict[tuple[str, str], set[Cause]] = {}
    serious: dict[str, Severity] = {}
    for cause, module in (*found.fails.items(), *found.parts.items()):
        if cause.kind in ("find", "open"):
            failing.setdefault((module, cause.path), set()).add(cause)
            serious.setdefault(module, Severity.ERROR if cause in found.fails else Severity.WARNING)
    # What was tried before in the same file tells more names of the same library.
    tried = {key: causes | {row for row in found.seen if row.path == key[1]} for key, causes in failing.items()}
    others = [(_severity(row), row) for row in found.lookups if row.path not in {path for _, path in failing}]
    wanted = {name for causes in tried.values() for row in causes for name in _candidates(row.name)}
    wanted |= {name for _, row in others for name in _candidates(row.name)}
    names = _packages(subject, wanted, [*serious.values(), *(severity for severity, _ in others)])
    for (module, path), causes in sorted(failing.items()):
        rows = sorted(row for row in causes if not _foreign(row.name)) or sorted(causes)
        evidence = f"import {module} fails: {_nothing(subject, found, rows)}"
        fix = _fix(subject, found, sorted(tried[module, path]), names)
        yield Found(path=subject.real(path) or path, evidence=evidence, severity=serious[module], fix=fix)
    for severity, row in others:
        evidence = _nothing(subject, found, [row])
        yield Found(path=row.path, evidence=evidence, severity=severity, fix=_fix(subject, found, [row], names))


def _severity(row: Lookup) -> Severity:
    """Of what does not end an import: it may be handled, or come later."""
    return Severity.WARNING if row.kind == "open" and not row.guarded else Severity.NOTE


def _nothing(subject: Subject, found: Natives, rows: Sequence[Cause | Lookup]) -> str:
    text = ", ".join(dict.fromkeys(_shown(row.kind, row.name) for row in rows))
    text = f"{text} finds nothing (line {rows[0].line})"
    if there := _there(subject, found, rows):
        text += f", though {there} is there"
    if any(row.kind == "find" for row in rows) and not subject.tree.is_file(_LDCONFIG):
        text += f"; find_library asks {_LDCONFIG}, which the image does not have"
    return text


def _there(subject: Subject, found: Natives, rows: Iterable[Cause | Lookup]) -> str:
    """A library that is meant and lies beside the others, without being listed in the loader's cache."""
    names = tuple(name for row in rows if row.kind == "find" for name in _candidates(row.name))
    paths = (f"{folder}/{name}" for folder in found.folders for name in subject.tree.children(folder))
    return next((path for path in paths if names and path.rpartition("/")[2].startswith(names)), "")


def _fix(subject: Subject, found: Natives, rows: Iterable[Cause | Lookup], names: dict[str, str]) -> str:
    rows = list(rows)
    if _there(subject, found, rows):
        return (
            "write /etc/ld.so.cache anew, and have ldconfig in the image: dpbuild does both where runtime-packages"
            ' names a package, "libc-bin" at least'
        )
    return _mend((name for row in rows for name in _candidates(row.name)), names)


def _shown(kind: str, name: str) -> str:
    return f'find_library("{name}")' if kind == "find" else f'dlopen("{name}")'


def _foreign(name: str) -> bool:
    return name.lower().endswith((".dll", ".dylib")) or "\\" in name


def _candidates(name: str) -> tuple[str, ...]:
    """Sonames, or beginnings of sonames that end with a dot, by which the library may be known."""
    if _foreign(name) or "/" in name:
        return ()
    if ".so" in name:
        return (name,)
    plain = posixpath.basename(name).removeprefix("lib")
    return (f"lib{plain}.so.",)


RULES: Final = (
    Rule(
        id="LIB001",
        severity=Severity.ERROR,
        title="a shared library is missing",
        symptom="ImportError: libxcb.so.1: cannot open shared object file: No such file or directory",
        why="An extension module, or a library that it loads, needs a library that is in none of the places where"
        " the dynamic loader looks: RPATH and RUNPATH of the file, LD_LIBRARY_PATH, /etc/ld.so.cache, the folders"
        " built into it. Distroless bases have few libraries, and manylinux wheels expect some from the system.",
        fix=_ADD,
        look=_missing,
    ),
    Rule(
        id="LIB002",
        severity=Severity.ERROR,
        title="a library is older than what was linked against it",
        symptom="ImportError: /lib/x86_64-linux-gnu/libm.so.6: version `GLIBC_2.38' not found (required by …)",
        why="The file was built on a system with a newer C library, C++ library or other library than the base"
        " has. The tags of wheels should prevent that, but they can lie, and files that were copied have none.",
        fix="build it on the base's own suite (dpbuild build does), take an older version, or a newer base",
        look=_outdated,
    ),
    Rule(
        id="LIB003",
        severity=Severity.ERROR,
        title="a library is damaged",
        symptom="ImportError: …: file too short; invalid ELF header",
        why="The file begins like a library, but what the dynamic loader reads next is not there.",
        fix="install the package again",
        look=_damaged,
    ),
    Rule(
        id="LIB004",
        severity=Severity.ERROR,
        title="a library that is asked for by its name is not found",
        symptom="ImportError: failed to find libmagic; OSError: PortAudio library not found; OSError: cannot load"
        " library 'libgobject-2.0-0'; no pq wrapper available",
        why="Packages that load a library themselves, by ctypes or cffi, do not say so in any file that installers"
        " read. ctypes.util.find_library knows only what ldconfig has listed in /etc/ld.so.cache: a library that"
        " was copied beside the others is not in it, and Debian 12's base has neither ldconfig nor the cache.",
        fix=_ADD,
        look=_by_name,
    ),
)
