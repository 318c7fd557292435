"""Build backends (PEP 517), run by the base's own interpreter; and builders, which have a compiler beside it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from dpbuild.model.artifact import Artifact
from dpbuild.model.base import Base
from dpbuild.model.builder import BuilderPlan
from dpbuild.model.config import Project
from dpbuild.model.files import ProjectFile
from dpbuild.model.recipe import Build
from dpbuild.ports.fetcher import Fetcher
from dpbuild.ports.pip import Pip

# What is built: a project's files, or an sdist in the store.
Source = Sequence[ProjectFile] | Artifact


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


class Builders(Protocol):
    """Builders for the bases of one run. Raises TargetError (30), ConfigError (10), BaseImageError (20)."""

    def plan(self, base: Base, packages: tuple[str, ...]) -> BuilderPlan:
        """What a builder for ``base`` with these Debian packages consists of now; asks the archive."""

    def pip(self, base: Base, plan: BuilderPlan | None, directory: str) -> Pip:
        """pip in the builder, with network, for the project in ``directory``; without a plan in the base itself."""

    def fetcher(self, base: Base, plan: Callable[[], BuilderPlan | None], directory: str, host: Fetcher) -> Fetcher:
        """What downloads by that pip, which is not asked for before; ``host`` fetches from folders of the project."""

    def repair(
        self, base: Base, plan: BuilderPlan, build: Build, wheel: Artifact, tools: Sequence[Artifact]
    ) -> Artifact:
        """The wheel with the libraries that it needs of the builder inside, in the store; auditwheel is in ``tools``.

        Raises SdistBuildFailed (54), UnsafeWheel (53), SandboxError (100).
        """

    def backend(self, base: Base, plan: BuilderPlan | None, build: Build) -> Backend:
        """What builds in it; without a plan in the base itself, which has no compiler. Nothing is unpacked yet."""
