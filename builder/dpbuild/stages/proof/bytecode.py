"""STA: compiled modules that are stale, missing, or for another version."""

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from dpbuild.model.finding import Severity
from dpbuild.stages.proof.app import find_app
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject

_CACHED: Final = re.compile(r"(?P<folder>.*)/__pycache__/(?P<name>[^/]+)\.(?P<tag>cpython-3\d+t?)(?:\.opt-\w+)?\.pyc")
# The first number of a .pyc of each release (Include/internal/pycore_magic_number.h).
_MAGIC: Final = {8: 3413, 9: 3425, 10: 3439, 11: 3495, 12: 3531, 13: 3571, 14: 3627}
# From how many modules on it is worth a word, and a warning.
_MANY: Final = 200
_FEW: Final = 20
_TIME: Final = 0xFFFFFFFF


def _tag(subject: Subject) -> str:
    """``sys.implementation.cache_tag``."""
    return "-".join(subject.facts.soabi.split("-")[:2]) if subject.facts is not None else ""


def _stale(subject: Subject) -> Iterator[Found]:
    tag = _tag(subject)
    rows = []
    checked = 0
    for path, scan in subject.scanned.items():
        match = _CACHED.fullmatch(path) if scan.pyc is not None and not scan.pyc.flags else None
        if match is None or match["tag"] != tag or scan.pyc is None:
            continue
        source = subject.tree.follow(f"{match['folder']}/{match['name']}.py")
        if source is None:
            continue
        checked += 1
        if (source.mtime & _TIME, source.size & _TIME) != (scan.pyc.mtime, scan.pyc.size):
            rows.append((path, source.mtime, source.size, scan.pyc))
    if rows:
        path, mtime, size, pyc = rows[0]
        yield Found(
            path=path,
            evidence=f"{len(rows)} of {checked} such files; this one is for a source of {pyc.size} bytes and time"
            f" {pyc.mtime}, but the source has {size} bytes and time {mtime}",
            severity=Severity.WARNING if len(rows) >= _FEW else Severity.NOTE,
        )


def _none(subject: Subject) -> Iterator[Found]:
    facts = subject.facts
    if facts is None or subject.config.variable("PYTHONPYCACHEPREFIX"):
        return
    sites = [row for row in facts.site_directories if subject.tree.is_directory(row)]
    if subject.start.prefix:
        sites.append(subject.start.prefix)
    inside = tuple(f"{real.lstrip('/')}/" for row in sites if (real := subject.real(row)))
    sources = compiled = size = 0
    for entry in subject.entries:
        if entry.path.startswith(inside):
            sources += entry.path.endswith(".py")
            compiled += entry.path.endswith(".pyc")
            size += entry.size if entry.path.endswith(".py") else 0
    if sources >= _MANY and not compiled:
        yield Found(
            path=sites[0],
            evidence=f"{sources} modules ({size / 1e6:.1f} MB of source), none compiled",
        )


def _elsewhere(subject: Subject) -> Iterator[Found]:
    folder = subject.config.variable("PYTHONPYCACHEPREFIX")
    if folder:
        there = subject.tree.is_directory(folder)
        yield Found(
            path="Env",
            evidence=f"PYTHONPYCACHEPREFIX={folder}" + ("" if there else ", which is not in the image"),
        )


def _other_version(subject: Subject) -> Iterator[Found]:
    facts = subject.facts
    if facts is None or facts.minor[1] not in _MAGIC:
        return
    folders = {real for row in (*subject.sys_path, subject.start.first) if row and (real := subject.real(row))}
    wanted = _MAGIC[facts.minor[1]]
    started = _started(subject)
    for path, scan in subject.scanned.items():
        folder = posixpath.dirname(path)
        if scan.pyc is None or scan.pyc.magic == wanted or (folder.endswith("/__pycache__") and path != started):
            continue
        # Beside a source, a .pyc of this kind is never looked at, unless it is what Python is to run.
        below = any(folder == row or folder.startswith(f"{row}/") for row in folders)
        if path == started or (below and path[:-1] not in subject.tree):
            made = next((f"3.{minor}" for minor, magic in _MAGIC.items() if magic == scan.pyc.magic), "another version")
            yield Found(
                path=path,
                evidence=f"it was compiled by Python {made}, the image has {facts.version}",
                severity=Severity.ERROR if path == started else None,
            )


def _started(subject: Subject) -> str:
    """The file that Python is told to run, or that the module which it is told to run is in."""
    app = find_app(subject)
    return app.entry if app.entry.startswith("/") else (app.modules.find(app.entry) if app.entry else None) or ""


RULES: Final = (
    Rule(
        id="STA001",
        severity=Severity.NOTE,
        title="compiled modules do not fit their sources",
        symptom="a slow start: each module is compiled anew each time",
        why="A .pyc with a timestamp counts only while its source has exactly that time and size. Builders that set"
        " all times to one value make every .pyc stale, and a user without write access cannot renew them. From"
        f" {_FEW} on it is a warning.",
        fix="compile with --invalidation-mode unchecked-hash or checked-hash",
        look=_stale,
    ),
    Rule(
        id="STA002",
        severity=Severity.NOTE,
        title="nothing is compiled",
        symptom="a slow start: importing eleven standard modules took 0.60 s without bytecode and 0.11 s with it",
        why="Distroless ships no .pyc files, and its user nonroot cannot write any. So each start compiles every"
        " module that it imports.",
        fix="compile packages and standard library while building (dpbuild does, with bytecode = true)",
        look=_none,
    ),
    Rule(
        id="STA003",
        severity=Severity.WARNING,
        title="PYTHONPYCACHEPREFIX hides the compiled modules",
        symptom="a slow start, although the image holds .pyc files",
        why="With it set, Python looks for compiled modules below that folder only, not in __pycache__.",
        fix="leave PYTHONPYCACHEPREFIX out of the image's Env",
        look=_elsewhere,
    ),
    Rule(
        id="STA021",
        severity=Severity.WARNING,
        title="a module that is only compiled is for another version",
        symptom="ImportError: bad magic number in 'api': b'\\xcb\\r\\r\\n'; RuntimeError: Bad magic number in .pyc"
        " file",
        why="A .pyc without its source is loaded by the version that made it and by no other. It is an error where it"
        " is what is started.",
        fix="compile with the base's version, or ship sources",
        look=_other_version,
    ),
)
