"""pip in the builder: versions, files and downloads from the indexes that are reached there."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from dpbuild.errors import UnsupportedRequirement
from dpbuild.frozen import frozen
from dpbuild.model.lock import LockedFile
from dpbuild.model.target import Target
from dpbuild.ports.resolver import ResolveRequest
from dpbuild.pypa.metadata import Metadata


@frozen
class Pin:
    """A project, its name normalised, at one version; "" is any. ``url`` is the file itself where a requirement names
    it, and then there is no version.
    """

    name: str
    version: str = ""
    url: str = ""


@frozen
class Offered:
    """A file that an index has; ``file.sha256`` may be "" where no version was asked for."""

    version: str
    file: LockedFile
    yanked: bool = False


class NoSolution(UnsupportedRequirement):
    """``wanted`` are the requirements that exclude each other, or that there is no wheel for."""

    wanted: tuple[str, ...] = ()


class Pip(Protocol):
    """One builder's pip. All methods raise LockError (40) for an index that cannot be read, SandboxError (100)."""

    def compile(self, request: ResolveRequest, known: Sequence[Metadata]) -> tuple[Pin, ...]:
        """The versions that pip-compile takes, of wheels alone; nothing is built.

        ``known`` stand for what has to be built: they count as wheels, before all others of their version. Of the
        request neither ``allow_sdist`` nor ``no_binary`` counts. Raises NoSolution (41).
        """

    def offered(
        self, request: ResolveRequest, pins: Sequence[Pin], target: Target
    ) -> Mapping[str, tuple[Offered, ...]]:
        """All files of these, by the project's name, for whatever platform, as far as the builder's Python is the one
        that they ask for. A file that may be for the target has its hash where the pin has a version.
        """
