"""A resolver that knows a few wheels and takes the newest that fits; under the same contract as uv."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from dpbuild.errors import NoCompatibleWheel, UnsupportedRequirement
from dpbuild.model.lock import LockedFile, LockedPackage
from dpbuild.model.target import Target
from dpbuild.ports.resolver import ResolveRequest
from dpbuild.pypa import markers, pylock
from dpbuild.stages.select import best_wheel


class FakeResolver:
    """``requests`` are those that were made. ``add`` offers a wheel by file name."""

    def __init__(self, url: str = "https://index.example.org/files") -> None:
        self.requests: list[tuple[ResolveRequest, Target]] = []
        self.exports: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
        self._url = url
        self._wheels: dict[str, dict[str, list[LockedFile]]] = {}
        self._requires: dict[tuple[str, str], tuple[str, ...]] = {}

    def add(self, filename: str, requires: tuple[str, ...] = (), sha256: str = "") -> None:
        name, version, _, _ = parse_wheel_filename(filename)
        file = LockedFile(
            name=filename, sha256=sha256 or hashlib.sha256(filename.encode()).hexdigest(), url=f"{self._url}/{filename}"
        )
        self._wheels.setdefault(name, {}).setdefault(str(version), []).append(file)
        self._requires[name, str(version)] = requires

    def resolve(self, request: ResolveRequest, target: Target) -> tuple[LockedPackage, ...]:
        self.requests.append((request, target))
        preferred = dict(row.split("==") for row in request.preferences)
        rules = [Requirement(row) for row in (*request.requirements, *request.constraints)]
        todo = [Requirement(row) for row in request.requirements]
        out: dict[str, LockedPackage] = {}
        while todo:
            wanted = todo.pop(0)
            name = canonicalize_name(wanted.name)
            if name in out or (wanted.marker and not markers.evaluate(_text(wanted.marker), target.markers)):
                continue
            if name not in self._wheels:
                raise UnsupportedRequirement(f"{name} was not found")
            limits = [row.specifier for row in (wanted, *rules) if canonicalize_name(row.name) == name]
            versions = [v for v in self._wheels[name] if all(limit.contains(v) for limit in limits)]
            if not versions:
                raise UnsupportedRequirement(f"no version of {name} will do")
            fitting = {v: [w for w in self._wheels[name][v] if best_wheel([w], target)] for v in versions}
            usable = sorted((v for v in versions if fitting[v]), key=Version)
            if not usable:
                raise NoCompatibleWheel(f"{name} {versions[-1]} has no wheel for {target.words}")
            version = preferred[name] if preferred.get(name) in usable else usable[-1]
            out[name] = LockedPackage(name=name, version=version, wheels=tuple(fitting[version]))
            if not request.no_deps:
                todo += [Requirement(row) for row in self._requires[name, version]]
        return tuple(out[name] for name in sorted(out))

    def export(self, directory: str, extras: tuple[str, ...], groups: tuple[str, ...]) -> tuple[LockedPackage, ...]:
        self.exports.append((directory, extras, groups))
        return pylock.loads(Path(directory, "uv.lock.exported").read_text(), "uv.lock").packages


def _text(marker: Marker) -> str:
    return re.sub(r"\s+", " ", str(marker))


def offered(resolver: FakeResolver, files: Mapping[str, tuple[str, ...]]) -> FakeResolver:
    """The resolver with all of these wheels and what they require."""
    for filename, requires in files.items():
        resolver.add(filename, requires)
    return resolver
