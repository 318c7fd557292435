"""Resolution: requirements in, locked packages out."""

from collections.abc import Callable
from typing import Protocol

from dpbuild.frozen import field, frozen
from dpbuild.model.lock import LockedPackage
from dpbuild.model.target import Target
from dpbuild.pypa.metadata import Metadata


@frozen
class ResolveRequest:
    """What to resolve.

    ``requirements`` and ``constraints`` are PEP 508 lines; ``preferences`` are ``name==version`` lines that
    hold unless they have no solution (the lock that is there); ``allow_sdist`` names the projects (normalised)
    that may come as an sdist, or holds "*" for all but ``only_binary``; ``no_binary`` those (or ":all:") that must.
    ``options`` are index options in the words of requirements files. With ``no_deps`` the requirements are all
    there is. With ``sources``, ``[tool.uv.sources]`` of the project in ``directory`` says which index a project
    comes from. ``metadata`` says what a locked sdist requires; without it no sdist can be locked.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    preferences: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    allow_sdist: frozenset[str] = frozenset()
    only_binary: tuple[str, ...] = ()
    directory: str = "."
    no_binary: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    no_deps: bool = False
    sources: bool = False
    metadata: Callable[[LockedPackage], Metadata] | None = field(default=None, compare=False)


class Resolver(Protocol):
    """Resolves for one target, never for the host."""

    def resolve(self, request: ResolveRequest, target: Target) -> tuple[LockedPackage, ...]:
        """The packages, sorted by name. Raises UnsupportedRequirement, NoCompatibleWheel, LockError."""

    def export(self, directory: str, extras: tuple[str, ...], groups: tuple[str, ...]) -> tuple[LockedPackage, ...]:
        """What the project's ``uv.lock`` says, without resolving again; markers are kept."""
