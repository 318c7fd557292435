"""Build backends (PEP 517), run by the base's own interpreter; and builders, which have a compiler beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dpbuild.model.artifact import Artifact
from dpbuild.model.config import Project
from dpbuild.model.files import ProjectFile
from dpbuild.oci.descriptor import Pairs

# What is built: a project's files, or an sdist in the store.
Source = Sequence[ProjectFile] | Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one project is built: Debian packages beside the compiler, environment, and config settings (PEP 517)."""

    packages: tuple[str, ...] = ()
    env: Pairs = ()
    options: Pairs = ()


class Backend(Protocol):
    """Backends in one environment. All methods raise SdistBuildFailed (54), SandboxError (100)."""

    @property
    def identity(self) -> str:
        """Everything about the environment that may show in a wheel, as one word."""

    def requires(self, project: Project, source: Source, wheels: Sequence[Artifact]) -> tuple[str, ...]:
        """What ``get_requires_for_build_wheel`` answers."""

    def build(self, project: Project, source: Source, wheels: Sequence[Artifact]) -> Artifact:
        """The wheel that ``build_wheel`` makes, in the store. Raises UnsafeWheel, too."""

    def metadata(self, project: Project, source: Source, wheels: Sequence[Artifact]) -> str:
        """METADATA as ``prepare_metadata_for_build_wheel`` makes it, or as the wheel has it."""
