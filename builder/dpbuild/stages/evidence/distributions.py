"""Python distributions in an image, from what they recorded when they were installed."""

from collections.abc import Mapping
from typing import Any, Final

from dpbuild.archive.overlay import FileTree
from dpbuild.frozen import frozen, replace
from dpbuild.pypa import normalized, required
from dpbuild.pypa.headers import Headers
from dpbuild.pypa.markers import Environment
from dpbuild.stages.evidence import embedded, purl
from dpbuild.stages.evidence.component import Component, License
from dpbuild.stages.evidence.spdx import expression
from dpbuild.stages.inventory import InventoryContents
from dpbuild.stages.proof import owners

# Core metadata in which "License" holds a licence's whole text, as some do, is told by its length.
_LONGEST: Final = 80


@frozen(kw_only=False)
class _Found:
    component: Component
    name: str
    requires: tuple[str, ...]


def distributions(
    tree: FileTree, contents: InventoryContents, environment: Environment | None
) -> tuple[Component, ...]:
    """Every distribution in the image, vendored ones too, with the dependencies between them.

    ``environment`` is what markers are evaluated with; without one, requirements that have a marker count as none.
    """
    found: list[_Found] = []
    taken: set[str] = set()
    # What lies deeper is somebody's vendored copy; the one that is imported comes first.
    for row in sorted(owners.distributions(tree), key=lambda each: (each.info.count("/"), each.info)):
        one = _read(row, tree, contents, taken)
        taken.add(one.component.ref)
        found.append(one)
    by_name: dict[str, _Found] = {}
    for one in found:
        by_name.setdefault(one.name, one)
    needs = _needs(by_name, environment)
    return tuple(replace(one.component, needs=needs.get(one.component.ref, frozenset())) for one in found)


def _read(row: owners.Distribution, tree: FileTree, contents: InventoryContents, taken: set[str]) -> _Found:
    text = contents.get(f"{row.info}/METADATA") or contents.get(f"{row.info}/PKG-INFO") or b""
    metadata = Headers(text.decode("utf-8", "replace"))
    name = normalized(metadata.first("Name") or row.name)
    version = metadata.first("Version") or row.version
    address = purl.pypi(name, version)
    ref = address if address not in taken else f"{address}#{row.info}"
    inner = [
        embedded.read(f"{row.info}/sboms/{path}", contents.get(f"{row.info}/sboms/{path}"), ref)
        for path in _below(tree, f"{row.info}/sboms")
    ]
    component = Component(
        ref=ref,
        kind="library",
        name=metadata.first("Name") or row.name,
        version=version,
        purl=address,
        description=metadata.first("Summary"),
        licenses=_licenses(metadata),
        location=row.info,
        files=_files(row, contents),
        inner=tuple(each for one in inner for each in one.components),
        inner_needs=tuple(each for one in inner for each in one.needs),
        notes=tuple(each for one in inner for each in one.notes),
    )
    return _Found(component, name, metadata.every("Requires-Dist"))


def _below(tree: FileTree, folder: str, prefix: str = "") -> list[str]:
    """Paths of the files below a folder, relative to it, sorted."""
    found = []
    for name in tree.children(f"{folder}/{prefix}"):
        path = f"{prefix}{name}"
        if tree.is_directory(f"{folder}/{path}"):
            found += _below(tree, folder, f"{path}/")
        elif tree.is_file(f"{folder}/{path}"):
            found.append(path)
    return sorted(found)


def _files(row: owners.Distribution, contents: InventoryContents) -> tuple[tuple[str, str], ...]:
    """The files of RECORD that are in the image, with the hashes that they have there."""
    text = (contents.get(f"{row.info}/RECORD") or b"").decode("utf-8", "replace")
    found = []
    for path in sorted(set(owners.recorded(row.site, text.splitlines()))):
        try:
            found.append((path, contents.sha256(path)))
        except KeyError:
            continue
    return tuple(found)


def _licenses(metadata: Headers) -> tuple[License, ...]:
    """PEP 639's expression, else the old field if it names a licence, else the classifiers."""
    if declared := metadata.first("License-Expression"):
        found = expression(declared)
        return (License(expression=found) if found else License(name=declared),)
    words = " ".join(metadata.first("License").split())
    if words and words.upper() != "UNKNOWN" and len(words) <= _LONGEST:
        found = expression(words)
        return (License(expression=found) if found else License(name=words),)
    names = {row.rpartition("::")[2].strip() for row in metadata.every("Classifier") if row.startswith("License ::")}
    return tuple(License(name=name) for name in sorted(names - {"OSI Approved"}))


def _needs(by_name: Mapping[str, _Found], environment: Environment | None) -> dict[str, frozenset[str]]:
    """Dependencies by the requirements that hold. An extra counts where an installed distribution asks for it."""
    from packaging.requirements import InvalidRequirement, Requirement

    parsed: dict[str, list[Requirement]] = {}
    for name, one in by_name.items():
        rows = parsed.setdefault(name, [])
        for line in one.requires:
            # Most are for extras, of things that are not there, and parsing one takes a while.
            if required(line) not in by_name:
                continue
            try:
                rows.append(Requirement(line))
            except InvalidRequirement:
                continue
    asked: dict[str, set[str]] = {name: {""} for name in by_name}
    needs: dict[str, set[str]] = {one.component.ref: set() for one in by_name.values()}
    todo = [(name, "") for name in sorted(by_name)]
    while todo:
        name, extra = todo.pop()
        for requirement in parsed[name]:
            other = normalized(requirement.name)
            if not _holds(requirement.marker, environment, extra):
                continue
            if other != name:
                needs[by_name[name].component.ref].add(by_name[other].component.ref)
            for wanted in sorted(map(normalized, requirement.extras)):
                if wanted not in asked[other]:
                    asked[other].add(wanted)
                    todo.append((other, wanted))
    return {ref: frozenset(rows) for ref, rows in needs.items()}


def _holds(marker: Any, environment: Environment | None, extra: str) -> bool:
    if marker is None:
        return True
    if environment is None:
        return False
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName

    try:
        return bool(marker.evaluate({**dict(environment), "extra": extra}))
    except (UndefinedComparison, UndefinedEnvironmentName):
        return False
