"""ABI: extension modules that were made for another Python, machine or C library."""

from collections.abc import Iterator
from typing import Final

from dpbuild.model.finding import Severity
from dpbuild.stages.proof.natives import Bad, Natives, natives
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject

_FIX: Final = "take the wheel for this interpreter; dpbuild build chooses by the base's own tags"


def _misfits(subject: Subject, kind: str) -> Iterator[Found]:
    """One finding for each package, since all of its modules share the cause, at the one that is worst."""
    found = natives(subject)
    groups: dict[str, list[tuple[Severity, Bad]]] = {}
    for row in found.bad:
        severity = found.severity(row) if row.misfit is not None and row.misfit.kind == kind else None
        if severity is not None:
            path = row.extension.path
            groups.setdefault(subject.owner(path) or path, []).append((severity, row))
    for rows in groups.values():
        severity, first = min(rows, key=lambda row: (tuple(Severity).index(row[0]), row[1].extension.path))
        yield Found(path=_path(subject, first), evidence=_evidence(found, first, len(rows)), severity=severity)


def _path(subject: Subject, row: Bad) -> str:
    return subject.real(row.extension.path) or row.extension.path


def _evidence(found: Natives, row: Bad, count: int) -> str:
    text = row.misfit.evidence if row.misfit is not None else ""
    module = found.failing(row.extension.path)
    more = f"; so {'is 1 more' if count == 2 else f'are {count - 1} more'} of its modules" if count > 1 else ""
    return text + more + (f"; import {module} fails" if module else "")


def _other_python(subject: Subject) -> Iterator[Found]:
    yield from _misfits(subject, "python")


def _other_machine(subject: Subject) -> Iterator[Found]:
    yield from _misfits(subject, "machine")


def _other_libc(subject: Subject) -> Iterator[Found]:
    yield from _misfits(subject, "libc")


def _other_flags(subject: Subject) -> Iterator[Found]:
    yield from _misfits(subject, "flags")


RULES: Final = (
    Rule(
        id="ABI001",
        severity=Severity.ERROR,
        title="an extension module is for another Python",
        symptom="ModuleNotFoundError: No module named 'numpy.core._multiarray_umath'; you should not try to import"
        " numpy from its source directory; Python version mismatch: module was compiled for Python 3.10",
        why="The name of an extension module says for which Python it was made, and the interpreter only looks at"
        " files with its own endings. The file is there, but for this interpreter it is not. Packages that were"
        " installed by another Python and then copied have such files.",
        fix=_FIX,
        look=_other_python,
    ),
    Rule(
        id="ABI002",
        severity=Severity.ERROR,
        title="an extension module is for another machine",
        symptom="ImportError: _rust.abi3.so: cannot open shared object file: No such file or directory",
        why="The dynamic loader passes over files of another machine as if they were not there, which its message"
        " repeats. The names of abi3 modules say nothing of the machine, so Python does not notice either.",
        fix=_FIX,
        look=_other_machine,
    ),
    Rule(
        id="ABI003",
        severity=Severity.ERROR,
        title="an extension module is for another C library",
        symptom="ImportError: libc.musl-x86_64.so.1: cannot open shared object file: No such file or directory",
        why="Wheels for musl (musllinux) need musl, wheels for glibc (manylinux) need glibc. The names of abi3"
        " modules do not say which it is.",
        fix=_FIX,
        look=_other_libc,
    ),
    Rule(
        id="ABI004",
        severity=Severity.ERROR,
        title="an extension module is for a free-threaded or debug build of Python",
        symptom="ModuleNotFoundError: No module named 'pkg._native', though the file is there",
        why="Python with and without the GIL, and debug builds, have ABIs of their own. The letter behind the"
        " version in the file's name says which (cpython-313t).",
        fix=_FIX,
        look=_other_flags,
    ),
)
