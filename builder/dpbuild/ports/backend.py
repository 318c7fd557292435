"""Build backends (PEP 517), run by the base's own interpreter."""

from collections.abc import Sequence
from typing import Protocol

from dpbuild.model.artifact import Artifact
from dpbuild.model.config import Project
from dpbuild.model.files import ProjectFile


class Backend(Protocol):
    """One project's backend in one environment."""

    def requires(self, project: Project, files: Sequence[ProjectFile], wheels: Sequence[Artifact]) -> tuple[str, ...]:
        """What ``get_requires_for_build_wheel`` answers. Raises SdistBuildFailed (54), SandboxError (100)."""

    def build(self, project: Project, files: Sequence[ProjectFile], wheels: Sequence[Artifact]) -> tuple[str, Artifact]:
        """The file name of the wheel that ``build_wheel`` makes, and the wheel in the store.

        Raises SdistBuildFailed, SandboxError, UnsafeWheel.
        """
