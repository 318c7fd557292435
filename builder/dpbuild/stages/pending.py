"""What is built from source, set up when the first thing has to be: most runs build nothing, and read none of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpbuild.model.artifact import Artifact
    from dpbuild.model.base import Base
    from dpbuild.model.lock import LockedFile, LockedPackage
    from dpbuild.ports.project import ProjectFolder
    from dpbuild.stages.builds import Builds


class PendingBuilds:
    """``begin`` gives the builds of the run, as ``stages.builds.begin`` does and with what that raises.

    ``kept`` is whether the second lock is written.
    """

    def __init__(self, begin: Callable[[], Builds], *, kept: bool = True) -> None:
        self._begin = begin
        self._kept = kept

    @cached_property
    def now(self) -> Builds:
        """All of it. Raises LockError for a second lock that is broken and has to be used."""
        return self._begin()

    @property
    def wheels_used(self) -> tuple[tuple[LockedPackage, LockedFile], ...]:
        """What was built with."""
        return tuple(self.now.wheels_used) if self._is_begun else ()

    def wheels(self, base: Base, artifacts: Iterable[Artifact]) -> tuple[Artifact, ...]:
        """The artifacts with every sdist replaced by the wheel that it makes, in the same order."""
        rows = tuple(artifacts)
        return rows if all(row.filename.endswith(".whl") for row in rows) else self.now.wheels(base, rows)

    def write(self, project: ProjectFolder) -> str:
        """Write the second lock, if it is kept and anything in it changed; its text, "" where nothing is built."""
        return self.now.write(project if self._kept else None) if self._is_begun else ""

    @property
    def _is_begun(self) -> bool:
        return "now" in self.__dict__
