"""RUN: what the app and its packages expect of their surroundings when they run."""

import functools
from collections.abc import Iterator
from typing import Final

from dpbuild.model.finding import Severity
from dpbuild.stages.facts_interpreter import which
from dpbuild.stages.proof import once, sources
from dpbuild.stages.proof.app import App, executed, find_app, modules_of
from dpbuild.stages.proof.elsewhere import elsewhere, extends
from dpbuild.stages.proof.reach import Modules
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.sources import Use
from dpbuild.stages.proof.subject import Subject

_SHELLS: Final = ("/bin/sh", "/bin/bash", "/bin/dash", "/bin/busybox", "/bin/ash")
_ZONES: Final = "/usr/share/zoneinfo"
# Options of pip install that PEP 668 leaves to the user.
_ALLOWED: Final = frozenset({"--break-system-packages", "--target", "-t", "--prefix", "--root", "--dry-run"})
# glibc, "Choosing Locale": what needs no files, and what glibc has built in since 2.35.
_ALWAYS: Final = frozenset({"", "c", "posix", "c.utf-8", "c.utf8"})
# Distributions whose import looks for a program, and fails without it.
_NEEDS_AT_IMPORT: Final = {"gitpython": ("git", "GIT_PYTHON_REFRESH", ("quiet", "silence", "none", "n", "0"))}
# Distributions that start a program when they are used.
_NEEDS_WHEN_USED: Final = {
    "ffmpeg-python": "ffmpeg",
    "graphviz": "dot",
    "pdf2image": "pdftoppm",
    "pydot": "dot",
    "pypandoc": "pandoc",
    "pytesseract": "tesseract",
}


@functools.lru_cache(maxsize=4)
def _uses(subject: Subject) -> tuple[tuple[str, Use], ...]:
    """What the app's own sources do, with the file of each."""
    rows = []
    for path in find_app(subject).files:
        data = subject.contents.get(path) or b""
        rows += [(path, use) for use in sources.uses(data)]
    return tuple(rows)


def _of(subject: Subject, kind: str) -> Iterator[tuple[str, Use]]:
    return ((path, use) for path, use in _uses(subject) if use.kind == kind)


def _shell(subject: Subject) -> Iterator[Found]:
    if any(subject.tree.is_file(path) for path in _SHELLS):
        return
    for path, use in _of(subject, "shell"):
        yield Found(path=path, evidence=f"line {use.line}: {use.name}; the image has no /bin/sh")


def _program(subject: Subject) -> Iterator[Found]:
    for path, use in _of(subject, "program"):
        if use.name and which(subject.tree, subject.config, use.name) is None:
            where = "" if "/" in use.name else " on PATH"
            yield Found(path=path, evidence=f"line {use.line}: it starts {use.name}, which the image lacks{where}")
    names = {row.name: row for row in subject.distributions}
    for name, program in _NEEDS_WHEN_USED.items():
        if name in names and which(subject.tree, subject.config, program) is None:
            yield Found(
                path=names[name].info, evidence=f"{names[name]} starts {program}, which the image lacks on PATH"
            )


def _program_at_import(subject: Subject) -> Iterator[Found]:
    for row in subject.distributions:
        program, variable, quiet = _NEEDS_AT_IMPORT.get(row.name, ("", "", ()))
        if not program or which(subject.tree, subject.config, program) is not None:
            continue
        if (subject.config.variable(variable) or "").lower() not in quiet or not subject.config.variable(variable):
            evidence = f"importing {row} looks for {program}, which the image lacks on PATH, and {variable} is not set"
            yield Found(
                path=row.info, evidence=evidence, fix=f'set {variable} = "quiet" in env, if {program} is not used'
            )


def _missing_in_app(subject: Subject) -> Iterator[Found]:
    app = find_app(subject)
    reached = executed(subject)
    yield from _not_served(subject, app)
    # Where the app looks besides what Python does by itself, no file tells.
    code = subject.start.task.code.encode("utf-8", "surrogateescape")
    own = extends(code) or any(extends(subject.contents.get(path) or b"") for path in app.files)
    other = elsewhere(subject)
    for use in sources.uses(code):
        if use.kind == "import" and use.top and not use.guarded and app.modules.absent(use.name):
            yield Found(
                path=subject.said_in(subject.start.task.code),
                evidence=f"-c, line {use.line}: import {use.name}{_why(subject, use.name)}{_may(other)}",
                severity=Severity.WARNING if other or (own and use.name not in sources.MODULES) else None,
            )
    for path, use in _of(subject, "import"):
        if use.guarded or not use.top or not app.modules.absent(use.name):
            continue
        if path in reached:
            via = f"; {reached[path]} imports it" if reached[path] else ""
            yield Found(
                path=path,
                evidence=f"line {use.line}: import {use.name}{_why(subject, use.name)}{via}{_may(other)}",
                severity=Severity.WARNING if other or (own and use.name not in sources.MODULES) else None,
            )
        elif use.name in sources.MODULES and path.rpartition("/")[2] != "setup.py":
            yield Found(
                path=path,
                evidence=f"line {use.line}: import {use.name}{_why(subject, use.name)}",
                severity=Severity.WARNING,
            )


def _not_served(subject: Subject, app: App) -> Iterator[Found]:
    """What a server is told to load, and cannot."""
    told = app.served
    if told is None or app.modules.find(told.module) is not None:
        return
    top = told.module.partition(".")[0]
    # Of a package that is installed nothing is said: it may make modules up.
    package = app.modules.find(top)
    if not app.modules.absent(top) and (package is None or subject.owner(package)):
        return
    mounted = any(f"{told.folder}/".startswith(f"{row.rstrip('/')}/") for row in subject.config.volumes)
    yield Found(
        path=subject.said_in(told.word),
        evidence=f"{told.server} is to load {told.word}, and nothing in the image provides the module {told.module}",
        fix="name a module that is in the image; see that its folder is the working directory or on PYTHONPATH",
        severity=None if told.surely and not mounted and not elsewhere(subject) else Severity.WARNING,
    )


def _missing_in_packages(subject: Subject) -> Iterator[Found]:
    modules, other = Modules(subject), elsewhere(subject)
    there = {subject.real(path) for path in subject.sys_path}
    importable = {str(row) for row in subject.distributions if subject.real(row.site) in there}
    own = set(find_app(subject).files)
    broken: dict[str, list[tuple[str, Use]]] = {}
    for path, scan in subject.scanned.items():
        for use in scan.uses:
            if use.kind == "import" and use.top and not use.guarded and path not in own and modules.absent(use.name):
                owner = subject.owner(path)
                if owner in importable:
                    broken.setdefault(owner, []).append((path, use))
    for owner, rows in broken.items():
        site, roots = modules_of(subject, owner)
        files = frozenset(path for path in subject.files_of(owner) if path.endswith(".py"))
        reached = once.executed(subject, modules, roots, frozenset(path for path, _ in rows), site, files)
        for path, use in rows:
            if path in reached:
                evidence = f"line {use.line}: import {use.name}{_why(subject, use.name)}, whenever it is imported"
                severity = Severity.WARNING if other else None
                yield Found(path=path, evidence=f"{evidence}{_may(other)}", severity=severity)


def _may(other: str) -> str:
    return f"; {other} may bring it" if other else ""


def _why(subject: Subject, name: str) -> str:
    facts = subject.facts
    if facts is not None and name in (facts.missing_modules or ()):
        return ", a standard module that the base leaves out"
    if name == "pkg_resources":
        there = next((str(row) for row in subject.distributions if row.name == "setuptools"), "")
        return f", which {there} does not have any more" if there else ", which comes with setuptools before 82"
    if name in sources.MODULES and name not in ("pip", "setuptools") and facts is not None:
        return f", which Python {facts.minor[0]}.{facts.minor[1]} does not have any more"
    return ", which nothing in the image provides"


def _module(subject: Subject) -> Iterator[Found]:
    app, facts = find_app(subject), subject.facts
    if facts is None:
        return
    for path, use in _of(subject, "module"):
        name, *words = use.name.split() or [""]
        top = name.partition(".")[0]
        managed = f"{facts.stdlib}/EXTERNALLY-MANAGED"
        if top and app.modules.absent(top):
            yield Found(path=path, evidence=f"line {use.line}: python -m {use.name}; there is no module {top}")
        elif top == "pip" and "install" in words and not subject.start.prefix and subject.tree.is_file(managed):
            if not _ALLOWED.intersection(row.partition("=")[0] for row in words):
                evidence = f"line {use.line}: python -m {use.name}, which {managed} forbids"
                yield Found(path=path, evidence=evidence)
        elif top == "venv" and "--without-pip" not in words and app.modules.absent("ensurepip"):
            evidence = f"line {use.line}: python -m {use.name} needs ensurepip, which the base leaves out"
            yield Found(path=path, evidence=evidence)


def _zone(subject: Subject) -> Iterator[Found]:
    folders = [f"{folder}/tzdata/zoneinfo" for folder in subject.sys_path]
    named = (subject.config.variable("PYTHONTZPATH") or _ZONES).split(":")
    for path, use in _of(subject, "zone"):
        if any(subject.tree.is_file(f"{folder}/{use.name}") for folder in (*named, *folders)):
            continue
        some = any(subject.tree.is_directory(folder) for folder in (*named, *folders))
        why = "the image's zoneinfo does not have it" if some else "the image has no zoneinfo"
        yield Found(path=path, evidence=f'line {use.line}: ZoneInfo("{use.name}"): {why}')


def _locale(subject: Subject) -> Iterator[Found]:
    there = {_plain(name) for name in subject.tree.children("/usr/lib/locale")}
    if "localearchive" in there:
        return  # its contents are not read
    for path, use in _of(subject, "locale"):
        if use.name.lower() not in _ALWAYS and _plain(use.name) not in there:
            has = ", ".join(sorted(subject.tree.children("/usr/lib/locale"))) or "none but C"
            yield Found(path=path, evidence=f'line {use.line}: setlocale(…, "{use.name}"); the image has {has}')


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _temporary(subject: Subject) -> Iterator[Found]:
    named = [subject.config.variable(name) for name in ("TMPDIR", "TEMP", "TMP")]
    folders = [*filter(None, named), "/tmp", "/var/tmp", "/usr/tmp"]  # noqa: S108 - tempfile's own list
    if not any(subject.tree.is_directory(folder) for folder in folders):
        yield Found(path="/tmp", evidence=f"none of {', '.join(folders)} is in the image")  # noqa: S108


RULES: Final = (
    Rule(
        id="RUN001",
        severity=Severity.WARNING,
        title="a shell is started, and there is none",
        symptom="FileNotFoundError: [Errno 2] No such file or directory: '/bin/sh'; os.system() returns 32512 and says"
        " nothing",
        why="Distroless images have no shell. shell=True, os.system, os.popen and getoutput start /bin/sh.",
        fix="give the program and its arguments as a list, without shell=True",
        look=_shell,
    ),
    Rule(
        id="RUN002",
        severity=Severity.WARNING,
        title="a program is started that is not in the image",
        symptom="FileNotFoundError: [Errno 2] No such file or directory: 'git'",
        why="The image holds Python and what was put beside it, not the tools of a whole distribution.",
        fix="add the Debian package that has the program (runtime-packages), or do without it",
        look=_program,
    ),
    Rule(
        id="RUN003",
        severity=Severity.ERROR,
        title="the app imports a module that is not there",
        symptom="ModuleNotFoundError: No module named 'pkg_resources' (or distutils, tkinter, imp, …)",
        why="Bases leave out parts of the standard library (tkinter, ensurepip, idlelib), newer Pythons removed others"
        " (distutils and imp in 3.12; cgi, crypt, telnetlib and more in 3.13), setuptools 82 removed pkg_resources,"
        " and nothing is installed that is not among the requirements. Found by following imports from what is"
        " started, or what uvicorn, gunicorn, flask, celery and their like are told to load; a warning where the"
        " module may not be imported at all, and where the app extends sys.path itself, or an archive, a .pth file"
        " with code or a sitecustomize may bring it.",
        fix="add the distribution that has it to the dependencies, or import something else",
        look=_missing_in_app,
    ),
    Rule(
        id="RUN004",
        severity=Severity.ERROR,
        title="a package imports a module that is not there",
        symptom="ModuleNotFoundError: No module named 'pkg_resources'",
        why="As RUN003, but in an installed distribution: importing it fails each time.",
        fix="choose a version of the package that is made for this Python, or add what it imports to the dependencies"
        " (pkg_resources: setuptools<82)",
        look=_missing_in_packages,
    ),
    Rule(
        id="RUN005",
        severity=Severity.ERROR,
        title="importing a package needs a program that is not in the image",
        symptom="ImportError: Bad git executable.",
        why="Some packages look for a program when they are imported, and raise if it is not there.",
        fix="add the Debian package that has the program (runtime-packages)",
        look=_program_at_import,
    ),
    Rule(
        id="RUN006",
        severity=Severity.WARNING,
        title="a time zone is named that the image does not know",
        symptom="ZoneInfoNotFoundError: 'No time zone found with key Europe/Berlin'",
        why="Some bases have no zoneinfo at all, others lack the zones' former names (US/Eastern, Europe/Kiev).",
        fix="add tzdata to the dependencies",
        look=_zone,
    ),
    Rule(
        id="RUN007",
        severity=Severity.WARNING,
        title="a locale is named that the image does not have",
        symptom="locale.Error: unsupported locale setting",
        why="Distroless images have the locale C.UTF-8 only.",
        fix="format with babel, or use C.UTF-8",
        look=_locale,
    ),
    Rule(
        id="RUN008",
        severity=Severity.WARNING,
        title="there is no directory for temporary files",
        symptom="FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/var/tmp', …]",
        why="tempfile needs a writable directory; images made from nothing may have none.",
        fix="make /tmp with mode 1777, or mount one; with a read-only root mount a tmpfs there",
        look=_temporary,
    ),
    Rule(
        id="RUN009",
        severity=Severity.WARNING,
        title="Python is started with a module that is not there or refuses",
        symptom="/usr/bin/python3.13: No module named pip; error: externally-managed-environment; Command '[… '-m',"
        " 'ensurepip' …]' returned non-zero exit status 1",
        why="Distroless bases have no pip and no ensurepip, and carry EXTERNALLY-MANAGED (PEP 668), by which a pip that"
        " was added refuses to install. Nor could a user other than root write to the site directory.",
        fix="install while the image is built: add what is wanted to the dependencies",
        look=_module,
    ),
)
