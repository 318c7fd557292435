"""What decides a lock, and whether a lock still belongs to it. Pure."""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from dpbuild.errors import LockStale, UnsupportedRequirement
from dpbuild.frozen import asdict
from dpbuild.model.config import Config
from dpbuild.model.lock import Inputs, Lock
from dpbuild.model.recipe import Recipe
from dpbuild.model.target import Target
from dpbuild.oci.platform import Platform
from dpbuild.stages.lockfile import inputs_hash
from dpbuild.stages.merge import platform_marker, requires_python


def build_inputs(requires: Sequence[str], find_links: tuple[str, ...] = ()) -> Inputs:
    """Everything that decides the lock of build requirements."""
    rows = (("find-links", find_links), ("requirements", tuple(sorted(requires))))
    return tuple(row for row in rows if row[1])


def inputs(config: Config) -> Inputs:
    """Everything in the configuration that decides the lock, sorted by name."""
    found = config.requirements
    rows: dict[str, tuple[str, ...]] = {
        "base": (str(config.base),),
        "constraints": found.constraints,
        "content": (f"{found.origin} sha256:{found.content}",) if found.content else (),
        "extras": tuple(sorted(config.extras)),
        "find-links": config.find_links,
        "groups": tuple(sorted(config.groups)),
        "hashes": tuple(f"{name} {value}" for name, values in found.hashes for value in values),
        "no-binary": tuple(sorted(config.no_binary)),
        "only-binary": tuple(sorted(config.only_binary)),
        "options": found.options,
        "recipes": tuple(f"{recipe.name} sha256:{_hash(recipe)}" for recipe in config.recipes),
        "requirements": found.lines,
        "requires-python": (config.project.requires_python,) if config.project.requires_python else (),
        "runtime-packages": tuple(sorted(config.runtime_packages)),
        "uv-settings": (f"sha256:{found.settings}",) if found.settings else (),
    }
    # Empty ones are left out, so that a key added later does not make old locks stale.
    return tuple((key, rows[key]) for key in sorted(rows) if rows[key])


def check_given(config: Config, note: Callable[[str], None], *, locked: bool) -> None:
    """A ``uv.lock`` must be the project's as it is now, because nothing is resolved on top of it; where a
    ``pylock.toml`` may not be, ``note`` is told.

    Raises UnsupportedRequirement (41), and with ``locked`` LockStale (42).
    """
    found = config.requirements
    if found.outdated and found.kind == "pylock":
        note(f"{found.outdated}; if that is not on purpose, lock again with what made it")
    elif found.outdated:
        problem = LockStale if locked else UnsupportedRequirement
        raise problem(found.outdated, where=found.origin, hint="run uv lock, then dpbuild lock")


def _hash(recipe: Recipe) -> str:
    row = asdict(recipe)
    for build in (row["build"], *(each for _, each in row["builds"])):
        # What a wheel is repaired with is locked beside what it is built with, and decides nothing here.
        del build["repair"]
    return hashlib.sha256(repr(row).encode()).hexdigest()


def stale(lock: Lock, config: Config, platforms: Iterable[Platform] = ()) -> str | None:
    """Why the lock does not belong to the configuration, in words; None if it does.

    ``platforms`` are those that are going to be built; each must be in the lock.
    """
    reasons = _changes(dict(lock.input_values), dict(inputs(config)))
    if not reasons and lock.inputs != inputs_hash(inputs(config)):
        reasons = ["the hash of the inputs differs"]
    missing = [str(row) for row in (*config.platforms, *platforms) if str(row.normalized()) not in lock.platforms]
    if missing:
        reasons.append(f"it does not cover {', '.join(dict.fromkeys(missing))}")
    return "; ".join(reasons) or None


def build_stale(lock: Lock, requires: Sequence[str], target: Target, find_links: tuple[str, ...] = ()) -> str | None:
    """Why a lock of build requirements is not for these requirements and this target; None if it is."""
    values = build_inputs(requires, find_links)
    reasons = _changes(dict(lock.input_values), dict(values))
    if lock.requires_python != requires_python([target]) or lock.environments != (platform_marker(target),):
        reasons.append("it is for another interpreter")
    if not reasons and lock.inputs != inputs_hash(values):
        reasons = ["the hash of the inputs differs"]
    return "; ".join(reasons) or None


_WORDS = {"requirements": "dependencies", "content": "the file that is locked", "uv-settings": "[tool.uv]"}


def _changes(before: dict[str, tuple[str, ...]], after: dict[str, tuple[str, ...]]) -> list[str]:
    out = []
    for key in sorted({*before, *after}):
        old, new = before.get(key, ()), after.get(key, ())
        if old == new:
            continue
        word = _WORDS.get(key, key)
        if key in ("content", "uv-settings", "hashes", "recipes"):
            out.append(f"{word} changed")
        elif len(old) == len(new) == 1:
            out.append(f"{word} changed: {old[0]} -> {new[0]}")
        else:
            rows = [f"+ {row}" for row in new if row not in old] + [f"- {row}" for row in old if row not in new]
            out.append(f"{word} changed: {', '.join(rows) or 'another order'}")
    return out


def moved(lock: Lock, platform: Platform, version: str) -> str:
    """``Python 3.11.2 -> 3.13.5``, if ``version`` is another minor version than the lock was made for; else "".

    ``version`` is that of the base's interpreter now, to the patch level.
    """
    rows = (dict(row.facts) for row in lock.bases if row.platform == str(platform))
    locked = next((row.get("python", "") for row in rows), "")
    same = not locked or locked.split(".")[:2] == version.split(".")[:2]
    return "" if same else f"Python {locked} -> {version}"


def changes(before: Lock | None, after: Lock) -> tuple[str, ...]:
    """What a new lock changes, one line for each package: ``+ a 1.0``, ``- b 2.0``, ``c 1.0 -> 1.1``.

    Before them another resolver, and another Python of the base.
    """
    old, new = _versions(before), _versions(after)
    out = [f"resolver {before.resolver} -> {after.resolver}"] if before and before.resolver != after.resolver else []
    out += [
        f"{row.platform}: {found}"
        for row in after.bases
        if before and (found := moved(before, Platform.parse(row.platform), dict(row.facts).get("python", "")))
    ]
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            one, two = ", ".join(old.get(name, ())), ", ".join(new.get(name, ()))
            out.append(f"+ {name} {two}" if not one else f"- {name} {one}" if not two else f"{name} {one} -> {two}")
    return tuple(out)


def _versions(lock: Lock | None) -> dict[str, tuple[str, ...]]:
    out: dict[str, tuple[str, ...]] = {}
    for package in lock.packages if lock else ():
        out[package.name] = tuple(sorted({*out.get(package.name, ()), package.version}))
    for row in lock.runtime if lock else ():
        for name, version, _ in row.packages:
            label = f"{name} (Debian)"
            out[label] = tuple(sorted({*out.get(label, ()), version}))
    return out
