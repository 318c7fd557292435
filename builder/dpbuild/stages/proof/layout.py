"""LAY: packages that are there, but not where Python looks."""

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from dpbuild.archive.entry import Kind
from dpbuild.model.finding import Severity
from dpbuild.stages.facts_interpreter import is_executable
from dpbuild.stages.proof.paths import user_site
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.start import setting
from dpbuild.stages.proof.subject import Subject

_SITE: Final = re.compile(r"(?P<prefix>.*)/lib(?:64|32)?/python(?P<version>3(?:\.\d+t?)?)/(?:site|dist)-packages")
_USER: Final = "/.local/lib/"
_CACHES: Final = ("/.cache/", "/pkgs/", "/cache/")
_NAMED: Final = 4


def _outside(subject: Subject) -> Iterator[Found]:
    facts = subject.facts
    if facts is None:
        return
    there = {subject.real(row) for row in subject.sys_path} | {subject.start.first}
    sites: dict[str, list[str]] = {}
    for row in subject.distributions:
        if _SITE.fullmatch(row.site) or row.info.endswith(".dist-info"):
            sites.setdefault(row.site, []).append(row.name)
    for site, names in sorted(sites.items()):
        match = _SITE.fullmatch(site)
        # Packages that others bring along lie below a site directory or the app; caches are no installations.
        above = (*(there - {facts.stdlib}), *sites) if match is None else tuple(sites)
        if subject.real(site) in there or any(site.startswith(f"{row}/") for row in above if row):
            continue
        prefix, version = (match["prefix"], match["version"]) if match else ("", "")
        if any(part in f"{site}/" for part in _CACHES) or (
            match and (_other_interpreter(subject, prefix, version) or _broken_environment(subject, prefix))
        ):
            continue
        listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        evidence = f"{listed}: not on the sys.path of {subject.start.executable or facts.interpreter}"
        fix = bumped = ""
        if match and subject.tree.is_file(f"{prefix}/pyvenv.cfg"):
            evidence += f", which does not start in the virtual environment {prefix}"
            fix = f"start {prefix}/bin/python, or install into {_wanted(subject)}"
        elif _USER in site:
            evidence += f", which runs as {_who(subject)} with HOME={subject.user.home}"
        elif version not in ("", "3", facts.stdlib.rpartition("/python")[2]):
            evidence += f", which is Python {facts.version}; the folder is for Python {version}"
            bumped = (
                f"the base has Python {facts.minor[0]}.{facts.minor[1]}, the packages are for {version}: install them"
                f" for the base's version, or go back to a base with Python {version} (tags move on)"
            )
        else:
            evidence += f"; packages belong into {_wanted(subject)}"
        # Nobody else would look there; other folders may be added by the app itself.
        sure = not fix and version != "3" and match is not None and prefix in ("", "/usr", "/usr/local")
        yield Found(path=site, evidence=evidence, severity=None if sure else Severity.WARNING, fix=fix or bumped)


def _who(subject: Subject) -> str:
    return subject.user.name or str(subject.user.uid)


def _wanted(subject: Subject) -> str:
    """Where packages go in this image."""
    if subject.start.prefix and subject.facts is not None:
        return f"{subject.start.prefix}/lib/{subject.facts.stdlib.rpartition('/')[2]}/site-packages"
    return subject.facts.purelib if subject.facts is not None else ""


def _other_interpreter(subject: Subject, prefix: str, version: str) -> bool:
    """Whether the site directory belongs to another Python of the image, which has a program and a library."""
    facts = subject.facts
    if facts is None or not is_executable(subject.tree, f"{prefix}/bin/python{version}"):
        return False
    program = subject.real(f"{prefix}/bin/python{version}")
    return program != facts.interpreter and not subject.tree.is_file(f"{prefix}/pyvenv.cfg")


def _environments(subject: Subject) -> Iterator[str]:
    """The folders of virtual environments."""
    for path in subject.scanned:
        if path.endswith("/pyvenv.cfg"):
            yield posixpath.dirname(path)


def _broken_environment(subject: Subject, prefix: str) -> bool:
    return any(row.path == prefix for look in (_dangling, _foreign) for row in look(subject))


def _uses(subject: Subject, prefix: str) -> bool:
    """Whether a container starts in a virtual environment, or Env says that it is the active one."""
    words = (*subject.start.chain, *subject.argv[:1])
    active = subject.config.variable("VIRTUAL_ENV") == prefix or f"{prefix}/bin" in subject.search_path
    return active or any(row.startswith(f"{prefix}/") for row in words)


def _dangling(subject: Subject) -> Iterator[Found]:
    for prefix in _environments(subject):
        for name in ("python", "python3"):
            path = f"{prefix}/bin/{name}"
            entry = subject.tree.get(path)
            if entry is None or entry.kind is not Kind.SYMLINK or subject.tree.follow(path) is not None:
                continue
            home = setting(subject.scan(f"{prefix}/pyvenv.cfg").text, "home")
            yield Found(
                path=prefix,
                evidence=f"bin/{name} is a link to {entry.target}, which leads nowhere; it was made with the Python in"
                f" {home or 'an unknown folder'}",
                severity=Severity.ERROR if _uses(subject, prefix) else Severity.WARNING,
            )
            break
    missing = subject.config.variable("VIRTUAL_ENV")
    if missing and not subject.tree.is_directory(missing):
        yield Found(path="Env", evidence=f"VIRTUAL_ENV={missing} is not in the image", severity=Severity.WARNING)


def _foreign(subject: Subject) -> Iterator[Found]:
    """Environments whose Python is there, but is another minor version than the one they were made for."""
    for prefix in _environments(subject):
        folders = [row for row in subject.tree.children(f"{prefix}/lib") if re.fullmatch(r"python3\.\d+t?", row)]
        program = subject.real(f"{prefix}/bin/python") or subject.real(f"{prefix}/bin/python3")
        facts = subject.facts
        if program is None or facts is None or program != facts.interpreter or not folders:
            continue
        own = facts.stdlib.rpartition("/")[2]
        if own not in folders:
            yield Found(
                path=prefix,
                evidence=f"its packages are in lib/{folders[0]}, but its bin/python is {program},"
                f" Python {facts.version}",
                severity=Severity.ERROR if _uses(subject, prefix) else Severity.WARNING,
            )


def _ignored_pth(subject: Subject) -> Iterator[Found]:
    if subject.facts is None:
        return
    sites = {subject.real(row) for row in (*subject.facts.site_directories, _wanted(subject))}
    sites.add(subject.real(user_site(subject.user, subject.facts)))
    for folder in (row for row in (subject.config.variable("PYTHONPATH") or "").split(":") if row):
        place = posixpath.join(subject.working_dir, folder)
        if subject.real(place) in sites:
            continue
        for name in subject.tree.children(place):
            if name.endswith(".pth"):
                lines = subject.scan(f"{place}/{name}").text.strip().splitlines()
                said = f": {lines[0][:60]}" if lines else ""
                yield Found(
                    path=f"{place}/{name}",
                    evidence=f"{place} is on sys.path through PYTHONPATH, where .pth files have no effect{said}",
                )


def _user_site(subject: Subject) -> Iterator[Found]:
    facts = subject.facts
    site = user_site(subject.user, facts) if facts is not None else ""
    if facts is None or site not in subject.sys_path or not subject.user.home.strip("/"):
        return
    mine = {row.name: row for row in subject.distributions if row.site == site}
    for row in subject.distributions:
        other = mine.get(row.name)
        if other is not None and row.site in facts.site_directories and row.version != other.version:
            yield Found(
                path=other.info,
                evidence=f"{other} comes before {row} in {row.site}; it is in the site directory of the user"
                f" {_who(subject)}",
            )


RULES: Final = (
    Rule(
        id="LAY001",
        severity=Severity.ERROR,
        title="packages lie outside of sys.path",
        symptom="ModuleNotFoundError: No module named 'requests'",
        why="Python looks into the site directory that its build names: on Debian /usr/local/lib/pythonX.Y/"
        "dist-packages, elsewhere site-packages of its own prefix and version. Packages that were copied to"
        " /usr/lib/python3.13/site-packages, to the folder of another minor version, to root's home or to a virtual"
        " environment that nothing starts are not found. A virtual environment or a folder that the app might add"
        " by itself is a warning.",
        fix="install for the base's version into its site directory",
        look=_outside,
    ),
    Rule(
        id="LAY002",
        severity=Severity.ERROR,
        title="a virtual environment's Python is not in the image",
        symptom="exec /app/.venv/bin/granian: no such file or directory; /app/.venv/bin/python: not found",
        why="A virtual environment holds links to the Python that made it. Copied to a base that has Python somewhere"
        " else, they lead nowhere, and so do the first lines of its scripts. It is a warning where the image does"
        " not start in it.",
        fix="make the environment with the base's own Python path, or install into its site directory without one",
        look=_dangling,
    ),
    Rule(
        id="LAY003",
        severity=Severity.ERROR,
        title="a virtual environment was made for another version",
        symptom="ModuleNotFoundError: No module named 'requests'",
        why="The packages of a virtual environment are in lib/pythonX.Y of the version that made it; the base's Python"
        " is another one and looks elsewhere. It is a warning where the image does not start in it.",
        fix="make the environment with the base's version",
        look=_foreign,
    ),
    Rule(
        id="LAY004",
        severity=Severity.WARNING,
        title="a .pth file on PYTHONPATH has no effect",
        symptom="ModuleNotFoundError: No module named 'distutils' with setuptools there; editable installs and"
        " namespace packages that are not found",
        why="Python reads .pth files in site directories only, not in folders of PYTHONPATH.",
        fix="install into the interpreter's own site directory instead of setting PYTHONPATH",
        look=_ignored_pth,
    ),
    Rule(
        id="LAY014",
        severity=Severity.WARNING,
        title="a package in the user's home hides an installed one",
        symptom="another version of a package than the one that was installed",
        why="~/.local/lib/pythonX.Y/site-packages comes before the interpreter's own site directory.",
        fix="leave ~/.local out of the image, or set PYTHONNOUSERSITE=1",
        look=_user_site,
    ),
)
