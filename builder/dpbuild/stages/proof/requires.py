"""LAY: packages that were chosen for another Python or platform than the image's, told by their metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from dpbuild.errors import TargetError
from dpbuild.model.finding import Severity
from dpbuild.pypa import metadata, normalized
from dpbuild.stages.proof.elsewhere import elsewhere
from dpbuild.stages.proof.reach import Modules
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.target import target

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from dpbuild.model.target import Target
    from dpbuild.pypa.metadata import Metadata
    from dpbuild.stages.proof.owners import Distribution
    from dpbuild.stages.proof.subject import Subject

_KERNEL: Final = ("platform_release", "platform_version")
# What surely counts only where an extra is asked for: most requirements, and parsing one takes long. It is tried at the
# first semicolon alone: a text of nothing else would take the square of its length.
_OPTIONAL: Final = re.compile(r"""[^;]*;(?!.*\bor\b).*\bextra\s*==\s*["'][^"']""", re.DOTALL)


def _target(subject: Subject) -> Target | None:
    try:
        return None if subject.facts is None else target(subject.facts, subject.platform)
    except TargetError:
        return None


def _installed(subject: Subject) -> dict[str, Distribution]:
    """What is on ``sys.path``, by name; the first one counts, as it does for importlib.metadata."""
    places = [subject.real(row) for row in subject.sys_path]
    order = {row: number for number, row in reversed(list(enumerate(places)))}
    rows = [(order[site], row) for row in subject.distributions if (site := subject.real(row.site)) in order]
    found: dict[str, Distribution] = {}
    for _, row in sorted(rows):
        found.setdefault(row.name, row)
    return found


def _metadata(subject: Subject, row: Distribution) -> Metadata | None:
    try:
        return metadata.parse(subject.scan(f"{row.info}/METADATA").text)
    except ValueError:
        return None


def _requirements(known: Metadata, *, extras: bool) -> Iterator[Requirement]:
    """What can be decided from files: text that is no requirement and properties of the kernel are left out.

    Without ``extras`` also what is only for these.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    for text in known.requires:
        if not extras and _OPTIONAL.match(text):
            continue
        try:
            row = Requirement(text)
        except InvalidRequirement:
            continue
        if not (row.marker and any(word in str(row.marker) for word in _KERNEL)):
            yield row


def _unmet(subject: Subject) -> Iterator[Found]:
    fits = _target(subject)
    if fits is None:
        return
    there = _installed(subject)
    known = {name: found for name, row in there.items() if (found := _metadata(subject, row)) is not None}
    wanted = {name: tuple(_requirements(row, extras=False)) for name, row in known.items()}
    extras: dict[str, set[str]] = {name: set() for name in known}
    pending = list(known)
    # Extras count where somebody asks for them, which may ask for more of them.
    while pending:
        asking = pending.pop()
        for row in wanted[asking]:
            name = normalized(row.name)
            new = row.extras and name in extras and not row.extras <= extras[name]
            if new and _holds(row, fits, extras[asking]):
                extras[name] |= row.extras
                wanted[name] = tuple(_requirements(known[name], extras=True))
                pending.append(name)
    modules = Modules(subject, [subject.start.first] if subject.start.first else [])
    for name, rows in sorted(wanted.items()):
        for row in rows:
            if not _holds(row, fits, extras[name]):
                continue
            have = there.get(normalized(row.name))
            if have is not None and _within(row, have.version):
                continue
            said = f"{row.name}{row.specifier}" + (f" ({row.marker})" if row.marker else "")
            sure = have is None and _fails(subject, there[name], normalized(row.name), modules)
            what = f"{have} is installed" if have is not None else "it is not installed"
            yield Found(
                path=f"{there[name].info}/METADATA",
                evidence=f"{there[name]} requires {said}, and on Python {fits.python_version} {what}"
                + (f"; import {sure} fails" if sure else ""),
                severity=Severity.ERROR if sure else None,
            )


def _holds(row: Requirement, fits: Target, extras: set[str]) -> bool:
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName

    if row.marker is None:
        return True
    try:
        return any(row.marker.evaluate({**dict(fits.markers), "extra": extra}) for extra in ("", *sorted(extras)))
    except (UndefinedComparison, UndefinedEnvironmentName, ValueError):
        return False


def _within(row: Requirement, version: str) -> bool:
    """Whether it will do; a version that is none is not judged."""
    from packaging.version import InvalidVersion

    try:
        return not version or row.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return True


def _fails(subject: Subject, row: Distribution, missing: str, modules: Modules) -> str:
    """The module of ``row`` whose import surely executes an import of the missing distribution's module, or "".

    The module is taken to be called like the distribution; where nothing is called so, nothing is sure.
    """
    from dpbuild.stages.proof.app import modules_of

    name = missing.replace("-", "_")
    if not modules.absent(name) or elsewhere(subject):
        return ""
    _, roots = modules_of(subject, str(row))
    files = frozenset(path for path in subject.files_of(str(row)) if path.endswith(".py"))
    subject.contents.prefetch(files)
    for root in roots:
        for path in modules.reached([root], files.__contains__):
            if modules.names(path, name):
                return root
    return ""


def _misfits(subject: Subject) -> Iterator[Found]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.tags import parse_tag

    fits = _target(subject)
    if fits is None:
        return
    for row in _installed(subject).values():
        known = _metadata(subject, row)
        try:
            allowed = SpecifierSet(known.requires_python if known else "")
        except InvalidSpecifier:
            allowed = SpecifierSet()
        if not allowed.contains(fits.python_version, prereleases=True):
            yield Found(
                path=f"{row.info}/METADATA",
                evidence=f"{row} requires Python {allowed}, and the image has {fits.python_version}",
            )
            continue
        text = subject.scan(f"{row.info}/WHEEL").text
        said = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Tag:")]
        try:
            tags = {str(tag) for line in said for tag in parse_tag(line)}
        except ValueError:
            continue
        if not tags or tags & set(fits.tags):
            continue
        libc = subject.facts.libc if subject.facts is not None else ""
        # The platform of a tag is a promise, which the ELF rules hold against what is really there.
        python = any(tag.rpartition("-")[0] == other.rpartition("-")[0] for tag in tags for other in fits.tags)
        if not python and any(path.endswith(".so") for path in subject.files_of(str(row))):
            continue  # ABI001 names the very modules
        yield Found(
            path=f"{row.info}/WHEEL",
            evidence=f"{row} comes from a wheel for {', '.join(said[:3])}; the image is Python {fits.python_version} on"
            f" {libc}, {subject.platform}",
            severity=Severity.NOTE if python else None,
        )


RULES: Final = (
    Rule(
        id="LAY015",
        severity=Severity.WARNING,
        title="what a package requires is not installed",
        symptom="ModuleNotFoundError: No module named 'typing_extensions'; names that a version does not have",
        why="A resolver that runs on another Python evaluates environment markers for that one: with 3.13 outside,"
        " typing-extensions; python_version < '3.12' is left out, and the image's 3.11 lacks it. pip --no-deps,"
        " pip --target over an older folder and copied site-packages give the same. It is an error where importing"
        " the package surely fails by it; otherwise the package may do without.",
        fix="resolve for the image's Python and platform: dpbuild lock, or uv pip compile --python-version with the"
        " base's version",
        look=_unmet,
    ),
    Rule(
        id="LAY016",
        severity=Severity.WARNING,
        title="a package is made for another Python or platform",
        symptom="SyntaxError in an installed package; ImportError; version `GLIBC_2.39' not found",
        why="Requires-Python, or the tags of the wheel that it was installed from, exclude the image's Python: it was"
        " chosen with another one's tags. A note where only the platform differs: whether its libraries load is what"
        " ABI002, ABI003 and LIB002 say.",
        fix="install the package for the image's own Python and platform",
        look=_misfits,
    ),
)
