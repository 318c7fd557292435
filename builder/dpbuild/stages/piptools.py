"""Resolving by pip-tools in the builder, with the base's interpreter; the outcome is a lock like any other.

pip-compile says which versions, with their hashes; the other resolver then finds the files of exactly these.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from dpbuild.errors import UnsupportedRequirement
from dpbuild.model.lock import LockedPackage
from dpbuild.model.target import Target
from dpbuild.ports.resolver import Resolver, ResolveRequest
from dpbuild.pypa.metadata import Metadata
from dpbuild.stages import reqfile

# What is brought into the builder; locked like the build requirements of an sdist, as the unit of this name.
REQUIRES: Final = ("pip", "pip-tools", "setuptools", "wheel")
UNIT: Final = "pip-tools"
_ARGUMENTS: Final = ("--allow-unsafe", "--generate-hashes", "--no-annotate", "--no-emit-index-url", "--no-emit-options")

Compile = Callable[[Target, tuple[tuple[str, str], ...], tuple[str, ...]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipToolsResolver:
    """Implements ``ports.resolver.Resolver``. ``compile`` runs pip-compile for a target on files (name, text)."""

    inner: Resolver
    compile: Compile

    def resolve(self, request: ResolveRequest, target: Target) -> tuple[LockedPackage, ...]:
        """The packages, sorted by name. Raises UnsupportedRequirement, NoCompatibleWheel, LockError."""
        files = [("requirements.in", _lines((*request.options, *request.requirements)))]
        arguments = [*_ARGUMENTS, "--no-header", "--strip-extras"]
        if request.constraints:
            files.append(("constraints.txt", _lines(request.constraints)))
            arguments += ["--constraint", "constraints.txt"]
        if request.preferences:
            files.append(("requirements.txt", _lines(request.preferences)))
        arguments.append(f"--pip-args={' '.join(_pip_arguments(request))}")
        text = self.compile(target, tuple(files), tuple(arguments))
        parsed = reqfile.parse("requirements.txt", lambda name: text if name == "requirements.txt" else None)
        hashes = {_name(line): tuple(row.partition(":")[2] for row in each) for _, line, each in parsed.rows}
        found = self.inner.resolve(
            replace(
                request,
                requirements=tuple(line for _, line, _ in parsed.rows),
                constraints=(),
                preferences=(),
                no_deps=True,
                # With everything there is no need to know what a file requires.
                metadata=lambda package: Metadata(name=package.name, version=package.version),
            ),
            target,
        )
        return tuple(_only(row, hashes.get(row.name, ())) for row in found)

    def export(self, directory: str, extras: tuple[str, ...], groups: tuple[str, ...]) -> tuple[LockedPackage, ...]:
        """What ``uv.lock`` says; nothing is resolved."""
        return self.inner.export(directory, extras, groups)


def _lines(rows: tuple[str, ...]) -> str:
    return "".join(f"{row}\n" for row in rows)


def _pip_arguments(request: ResolveRequest) -> list[str]:
    """As uv is told: a wheel before an sdist, and an sdist only where that is allowed."""
    rows = ["--prefer-binary"]
    rows += [f"--no-binary={name}" for name in request.no_binary]
    if not request.allow_sdist and not request.no_binary:
        rows.append("--only-binary=:all:")
    else:
        rows += [f"--only-binary={name}" for name in request.only_binary]
    return rows


def _name(line: str) -> str:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    return canonicalize_name(Requirement(line).name)


def _only(package: LockedPackage, allowed: tuple[str, ...]) -> LockedPackage:
    """The files whose hashes pip-compile has seen."""
    wheels = tuple(wheel for wheel in package.wheels if wheel.sha256 in allowed)
    sdist = package.sdist if package.sdist and package.sdist.sha256 in allowed else None
    if not wheels and not sdist:
        raise UnsupportedRequirement(
            f"{package.name} {package.version}: pip-tools and uv see different files of it",
            hint="both must be configured for the same indexes",
        )
    return replace(package, wheels=wheels, sdist=sdist)
