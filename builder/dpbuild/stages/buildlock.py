"""``pylock.dpbuild-build.toml``: what the app and each sdist are built with. A PEP 751 lock in which every unit is a
dependency group, so that pip and uv can install what one of them is built with.
"""

import re
from typing import Final

from dpbuild.errors import LockError
from dpbuild.frozen import replace
from dpbuild.model.builder import BuilderPlan, BuildLock
from dpbuild.model.lock import Lock, LockedPackage
from dpbuild.pypa import pylock
from dpbuild.pypa.pylock import Document, LockedFile, Reader, Table
from dpbuild.stages.lockfile import read_digest, without_user

NAME: Final = "pylock.dpbuild-build.toml"
APP: Final = "app"
# What to do about one that is missing or stale.
RENEW: Final = "run dpbuild lock, or build once with neither --locked nor --frozen"
# Raise this when a lock written before cannot be used any more.
VERSION: Final = 2
_Key = tuple[str, str]


def unit(name: str, version: str) -> str:
    """The name of an sdist's unit, which is that of its dependency group."""
    return "sdist-" + re.sub(r"[^a-z0-9]+", "-", f"{name}-{version}".lower()).strip("-")


def dumps(lock: BuildLock) -> str:
    """The text of the lock, the same bytes for equal locks. Raises LockError for URLs with user information."""
    files: dict[_Key, dict[tuple[str, str], LockedFile]] = {}
    places: dict[_Key, list[str]] = {}
    units: list[dict[str, object]] = []
    for (name, platform), each in sorted(lock.units, key=lambda row: row[0]):
        for package in each.packages:
            key = package.name, package.version
            every = (*package.wheels, *([package.sdist] if package.sdist else []))
            files.setdefault(key, {}).update({(file.name, file.sha256): file for file in every})
            places.setdefault(key, []).append(f"({each.environments[0]} and '{name}' in dependency_groups)")
        units.append(
            {
                "name": name,
                "platform": platform,
                "requires-python": each.requires_python,
                "environment": each.environments[0],
                "packages": [f"{package.name}=={package.version}" for package in each.packages],
                "inputs-hash": each.inputs,
                "inputs": {key: rows for key, rows in each.input_values if rows},
            }
        )
    packages = tuple(
        LockedPackage(
            name=key[0],
            version=key[1],
            marker=" or ".join(places[key]),
            wheels=tuple(files[key][row] for row in sorted(files[key]) if row[0].endswith(".whl")),
            sdist=next((files[key][row] for row in sorted(files[key]) if not row[0].endswith(".whl")), None),
        )
        for key in sorted(files)
    )
    without_user(packages, None)
    own: dict[str, object] = {"lock-version": VERSION}
    own |= {"units": units} if units else {}
    builders = sorted(lock.builders, key=lambda row: (row.platform, row.wanted))
    own |= {"builders": {" ".join((row.platform, *row.wanted)): _builder_row(row) for row in builders}}
    document = Document(
        packages=packages,
        requires_python=next((each.requires_python for _, each in lock.units), ""),
        environments=tuple(sorted({row for _, each in lock.units for row in each.environments})),
        dependency_groups=tuple(sorted({name for (name, _), _ in lock.units})),
        tool={"dpbuild": own},
    )
    return "# Made by dpbuild. Do not edit; `dpbuild build` writes it again.\n" + pylock.dumps(document)


def _builder_row(plan: BuilderPlan) -> dict[str, object]:
    row: dict[str, object] = {"platform": plan.platform, "base": plan.base}
    row |= {"image": plan.image, "image-digest": plan.image_digest} if plan.image else {}
    row |= {"suite": plan.suite, "wanted": plan.wanted} if plan.suite else {}
    # One line for each package, not a table: there are about a hundred.
    return {**row, "pins": [" ".join(pin) for pin in plan.pins]} if plan.pins else row


def loads(text: str) -> BuildLock:
    """Read a lock that dpbuild wrote. Raises LockError that names the key."""
    document = pylock.loads(text, NAME)
    read = Reader(NAME)
    own = read.table(document.tool, "dpbuild", "tool")
    if own.get("lock-version") != VERSION:
        raise LockError(
            f"the lock of build requirements has version {own.get('lock-version')!r}; this is {VERSION}",
            where=NAME,
            hint="remove it, and run dpbuild build",
        )
    without_user(document.packages, NAME)
    known = {(package.name, package.version): package for package in document.packages}
    rows = enumerate(read.tables(own, "units", "tool.dpbuild"))
    builders = read.table(own, "builders", "tool.dpbuild")
    return BuildLock(
        units=tuple(_unit(read, row, f"tool.dpbuild.units[{number}]", known) for number, row in rows),
        builders=tuple(
            _builder(read, read.table(builders, key, "tool.dpbuild.builders"), f"tool.dpbuild.builders.{key}")
            for key in builders
        ),
    )


def _unit(read: Reader, row: Table, path: str, known: dict[_Key, LockedPackage]) -> tuple[_Key, Lock]:
    packages = []
    for text in read.texts(row, "packages", path):
        name, _, version = text.partition("==")
        package = known.get((name, version))
        files = () if package is None else (*package.wheels, *([package.sdist] if package.sdist else []))
        if package is None or not all(file.sha256 for file in files):
            raise read.fail(f"{path}.packages", f"packages that are locked with hashes ({text} is not)")
        packages.append(replace(package, marker=""))
    inputs = read.table(row, "inputs", path)
    platform = read.text(row, "platform", path)
    return (read.text(row, "name", path), platform), Lock(
        requires_python=read.text(row, "requires-python", path),
        environments=(read.text(row, "environment", path),),
        packages=tuple(packages),
        platforms=(platform,),
        inputs=read.text(row, "inputs-hash", path),
        input_values=tuple((key, read.texts(inputs, key, f"{path}.inputs")) for key in sorted(inputs)),
        base_reference="",
        base_digest="",
    )


def _builder(read: Reader, row: Table, path: str) -> BuilderPlan:
    pins = []
    for text in read.texts(row, "pins", path):
        parts = text.split(" ")
        if len(parts) != 3 or not re.fullmatch(r"[0-9a-f]{64}", parts[2]):
            raise read.fail(f"{path}.pins", "rows of name, version and sha256")
        pins.append((parts[0], parts[1], parts[2]))
    return BuilderPlan(
        platform=read.text(row, "platform", path),
        base=read.text(row, "base", path),
        suite=read.text(row, "suite", path, default=""),
        wanted=read.texts(row, "wanted", path),
        pins=tuple(pins),
        image=read.text(row, "image", path, default=""),
        image_digest=read_digest(read, row, "image-digest", path, default=""),
    )
