"""pip with an index in memory, which takes the newest version and tries no other; under the same contract as the real one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from dpbuild.model.lock import LockedFile
from dpbuild.model.target import Target
from dpbuild.ports.pip import NoSolution, Offered, Pin
from dpbuild.ports.resolver import ResolveRequest
from dpbuild.pypa import markers
from dpbuild.pypa.metadata import Metadata
from dpbuild.stages.select import best_wheel


@dataclass
class FakePip:
    """For one target. ``compiled`` counts what was asked; ``add`` offers a file by its name."""

    target: Target
    url: str = "https://index.example.org/files"
    compiled: int = 0
    files: dict[str, list[Offered]] = field(default_factory=dict)
    requires: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def add(self, filename: str, requires: tuple[str, ...] = (), sha256: str = "", *, yanked: bool = False) -> None:
        name, version = filename.removesuffix(".tar.gz").split("-")[:2]
        file = LockedFile(name=filename, sha256=sha256 or "0" * 64, url=f"{self.url}/{filename}")
        offered = Offered(version=version, file=file, yanked=yanked)
        self.files.setdefault(canonicalize_name(name), []).append(offered)
        self.requires[filename] = requires

    def compile(self, request: ResolveRequest, known: Sequence[Metadata]) -> tuple[Pin, ...]:
        self.compiled += 1
        preferred = dict(row.split("==") for row in request.preferences)
        rules = [Requirement(row) for row in (*request.requirements, *request.constraints)]
        todo = [Requirement(row) for row in request.requirements]
        out: dict[str, Pin] = {}
        while todo:
            wanted = todo.pop(0)
            name = canonicalize_name(wanted.name)
            if name in out or (wanted.marker and not markers.evaluate(str(wanted.marker), self.target.markers)):
                continue
            if wanted.url:
                out[name] = Pin(name=name, url=wanted.url)
                continue
            rules.append(wanted)
            limit = SpecifierSet()
            for row in rules:
                limit &= row.specifier if canonicalize_name(row.name) == name else SpecifierSet()
            found = {
                version: requires for version, requires in self._wheels(name, known).items() if limit.contains(version)
            }
            if not found:
                lines = sorted({str(row) for row in rules if canonicalize_name(row.name) == name})
                problem = NoSolution(f"the requirements have no solution by pip-tools: {', '.join(lines)}")
                problem.wanted = tuple(lines)
                raise problem
            version = preferred[name] if preferred.get(name) in found else max(found, key=Version)
            out[name] = Pin(name=name, version=version)
            todo += [Requirement(row) for row in found[version]]
        return tuple(out.values())

    def _wheels(self, name: str, known: Sequence[Metadata]) -> dict[str, tuple[str, ...]]:
        """By version what its best wheel requires; those that stand in for sdists come first."""
        files = [row for row in self.files.get(name, []) if not row.yanked]
        found = {
            row.version: self.requires[row.file.name]
            for row in files
            if best_wheel([row.file], self.target) is not None
        }
        return found | {row.version: row.requires for row in known if row.name == name}

    def offered(
        self, request: ResolveRequest, pins: Sequence[Pin], target: Target
    ) -> Mapping[str, tuple[Offered, ...]]:
        out = {}
        for pin in pins:
            if pin.url:
                filename = pin.url.rpartition("/")[2]
                rows = [row for row in self.files[pin.name] if row.file.name == filename]
                rows = [Offered(version="", file=rows[0].file)]
            else:
                rows = [row for row in self.files.get(pin.name, []) if pin.version in ("", row.version)]
            out[pin.name] = tuple(rows)
        return out
