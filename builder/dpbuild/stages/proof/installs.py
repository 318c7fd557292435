"""LAY: installations that are incomplete, double, or lead out of the image."""

import ast
import json
import posixpath
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

from dpbuild.model.finding import Severity
from dpbuild.stages.facts_stdlib import expected
from dpbuild.stages.proof.paths import lines_of_pth
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject

_DATA: Final = re.compile(r"[A-Za-z0-9_.]+-[^-/]+\.data")
_INFO: Final = re.compile(r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[^-/]+)\.dist-info")
_MAPPING: Final = re.compile(rb"^MAPPING(?:\s*:[^=\n]*)?\s*=\s*(\{.*\})\s*$", re.MULTILINE)
_LARGEST: Final = 1 << 20
# Folders and files that apps are wont to have and that nobody imports from the standard library.
_HARMLESS: Final = frozenset(("test", "tests", "this", "antigravity", "idlelib", "turtledemo", "site", "__main__"))
# What ``python -m`` imports itself before the module, beyond what is frozen into the interpreter (Lib/runpy.py,
# Lib/pkgutil.py).
_FOR_MODULES: Final = frozenset(("pkgutil", "types", "warnings", "collections", "functools", "operator", "keyword"))


def _sites(subject: Subject) -> tuple[str, ...]:
    """The folders of sys.path that packages are installed to."""
    facts = subject.facts
    if facts is None:
        return ()
    skipped = (facts.stdlib, f"{facts.stdlib}/lib-dynload")
    return tuple(row for row in subject.sys_path if row not in skipped and subject.tree.is_directory(row))


def _no_metadata(subject: Subject) -> Iterator[Found]:
    for site in _sites(subject):
        names = subject.tree.children(site)
        infos = [name for name in names if _INFO.fullmatch(name)]
        for name in infos:
            if not subject.tree.is_file(f"{site}/{name}/METADATA"):
                yield Found(path=f"{site}/{name}", evidence="there is no METADATA in it", severity=Severity.WARNING)
        if not site.endswith("-packages"):
            continue
        packages = [name for name in names if subject.tree.is_file(f"{site}/{name}/__init__.py")]
        eggs = any(name.endswith((".egg-info", ".egg", ".pth")) for name in names)
        if packages and not infos and not eggs:
            listed = ", ".join(packages[:4])
            yield Found(path=site, evidence=f"{len(packages)} packages ({listed}), and no .dist-info at all")


def _unpacked(subject: Subject) -> Iterator[Found]:
    for site in (*_sites(subject), subject.start.first):
        for name in subject.tree.children(site) if site else ():
            if _DATA.fullmatch(name) and subject.tree.is_directory(f"{site}/{name}"):
                inside = ", ".join(subject.tree.children(f"{site}/{name}"))
                yield Found(path=f"{site}/{name}", evidence=f"it holds {inside}, which belong elsewhere")


def _double(subject: Subject) -> Iterator[Found]:
    seen: dict[tuple[str, str], list[str]] = {}
    for row in subject.distributions:
        if row.info.endswith(".dist-info"):
            seen.setdefault((row.site, row.name), []).append(row.info)
    for (site, _), infos in seen.items():
        if len(infos) > 1 and site in subject.sys_path:
            names = ", ".join(posixpath.basename(row) for row in infos)
            yield Found(path=infos[0], evidence=f"{site} has {names}")


def _editable(subject: Subject) -> Iterator[Found]:
    for site in _sites(subject):
        ways = (*lines_of_pth(subject.tree, site, subject.scan), *_finders(subject, site))
        lost = {folder: path for path, folder in ways if folder not in subject.tree}
        sources = {row: path for path, row in _sources(subject, site) if row not in subject.tree}
        for folder, path in lost.items():
            name = posixpath.basename(path)
            of_source = any(folder == row or folder.startswith(f"{row}/") for row in sources)
            if of_source or name == "easy-install.pth" or name.startswith(("__editable__", "_")):
                yield Found(path=path, evidence=f"it leads to {folder}, which is not in the image")
        for source, path in sources.items():
            if not any(row == source or row.startswith(f"{source}/") for row in lost):
                evidence = f"it was installed from {source}, which is not in the image"
                yield Found(path=path, evidence=evidence, severity=Severity.WARNING)


def _finders(subject: Subject, site: str) -> Iterator[tuple[str, str]]:
    """What setuptools' import hooks for editable installs map to: ``MAPPING = {'pkg': '/src/pkg'}``."""
    for name in subject.tree.children(site):
        if name.startswith("__editable___") and name.endswith("_finder.py"):
            match = _MAPPING.search(subject.contents.get(f"{site}/{name}", _LARGEST) or b"")
            try:
                mapping = ast.literal_eval(match[1].decode()) if match else {}
            except (ValueError, SyntaxError):
                continue
            for target in mapping.values() if isinstance(mapping, dict) else ():
                # A module's path comes without its suffix.
                found = next((row for row in (target, f"{target}.py") if row in subject.tree), target)
                yield f"{site}/{name}", found


def _sources(subject: Subject, site: str) -> Iterator[tuple[str, str]]:
    """The projects' folders that editable installs speak of: .egg-link files, and direct_url.json (PEP 610)."""
    for name in subject.tree.children(site):
        path = f"{site}/{name}"
        if name.endswith(".egg-link"):
            line = subject.scan(path).text.split("\n")[0].strip()
            if line.startswith("/"):
                yield path, line
        elif name.endswith(".dist-info"):
            try:
                value = json.loads(subject.scan(f"{path}/direct_url.json").text or "{}")
                url = urlsplit(value["url"])
                editable = value["dir_info"]["editable"]
            except (ValueError, TypeError, KeyError):
                continue
            if editable and url.scheme == "file":
                yield path, unquote(url.path)


def _shadowing(subject: Subject) -> Iterator[Found]:
    facts = subject.facts
    if facts is None:
        return
    names = (expected(facts.minor[1]) or frozenset()) - _HARMLESS
    ahead = subject.sys_path[: subject.sys_path.index(facts.stdlib)] if facts.stdlib in subject.sys_path else ()
    told = subject.start.task
    first = subject.start.first if told.script or told.module else ""
    for folder in dict.fromkeys(row for row in (first, *ahead) if row and row != facts.stdlib):
        for child in subject.tree.children(folder):
            name = child.removesuffix(".py")
            path = f"{folder}/{child}"
            package = name == child and subject.tree.is_file(f"{path}/__init__.py")
            if name not in names or not (package or (name != child and subject.tree.is_file(path))):
                continue
            fatal = (folder in ahead and name == "encodings") or (
                folder == first and bool(told.module) and name in _FOR_MODULES
            )
            yield Found(
                path=path,
                evidence=f"{folder} comes before the standard library on sys.path, so import {name} finds this one"
                + (", already when Python starts" if fatal else ""),
                severity=Severity.ERROR if fatal else None,
            )


def _eggs(subject: Subject) -> Iterator[Found]:
    for site in _sites(subject):
        reachable = {path for _, path in lines_of_pth(subject.tree, site, subject.scan)}
        for name in subject.tree.children(site):
            if name.endswith(".egg"):
                there = f"{site}/{name}" in reachable
                yield Found(
                    path=f"{site}/{name}",
                    evidence="it is an egg" + ("" if there else ", and no .pth file puts it on sys.path"),
                    severity=None if there else Severity.WARNING,
                )


RULES: Final = (
    Rule(
        id="LAY007",
        severity=Severity.NOTE,
        title="packages without their metadata",
        symptom="importlib.metadata.PackageNotFoundError; entry points and plugins that are not found; scanners that"
        " see no packages",
        why="The .dist-info folder belongs to the package: its version, its entry points and its licences are read at"
        " run time, and scanners know packages by it. Removing it saves little. A .dist-info without METADATA is a"
        " warning: even the version is gone.",
        fix="keep METADATA, RECORD and entry_points.txt",
        look=_no_metadata,
    ),
    Rule(
        id="LAY008",
        severity=Severity.WARNING,
        title="a wheel was unpacked, not installed",
        symptom="scripts, data files or headers of a package are missing; sometimes its modules, too",
        why="A wheel's .data folder holds files for other places: scripts, headers, data, and purelib or platlib. An"
        " installer moves them; unzip does not.",
        fix="use an installer, or let dpbuild install the wheel",
        look=_unpacked,
    ),
    Rule(
        id="LAY009",
        severity=Severity.WARNING,
        title="two versions of a package in one folder",
        symptom="importlib.metadata gives one version, the code is another; files of both are mixed",
        why="A second version was laid over the first without removing it, for example by COPY in two layers.",
        fix="install into an empty folder",
        look=_double,
    ),
    Rule(
        id="LAY010",
        severity=Severity.ERROR,
        title="an editable install leads out of the image",
        symptom="ModuleNotFoundError: No module named 'api', although pip list shows it",
        why="An editable install (pip install -e, uv sync without --no-editable) holds only the path of the project's"
        " sources on the machine that made it.",
        fix="install the project itself: pip install . or uv sync --no-editable",
        look=_editable,
    ),
    Rule(
        id="LAY011",
        severity=Severity.WARNING,
        title="a file of the app hides a module of the standard library",
        symptom="AttributeError: module 'queue' has no attribute 'Queue'; ImportError: cannot import name …"
        " (most likely due to a circular import)",
        why="The folder of the script, with -m the working directory, and PYTHONPATH come before the standard"
        " library. It is an error where Python itself needs the module before the app begins.",
        fix="rename the file, put the app into a package, or set PYTHONSAFEPATH=1",
        look=_shadowing,
    ),
    Rule(
        id="LAY012",
        severity=Severity.NOTE,
        title="eggs among the packages",
        symptom="ModuleNotFoundError, or importlib.resources that does not find files",
        why="Eggs are what setup.py install made; they need entries in easy-install.pth, and zipped ones cannot hold"
        " extension modules. Without such an entry, a warning, they are not found.",
        fix="install from a wheel",
        look=_eggs,
    ),
)
