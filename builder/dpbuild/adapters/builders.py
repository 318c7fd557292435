"""The builders of one run: which root and which sandbox a build backend gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dpbuild.debian.suites import SUITES
from dpbuild.errors import SandboxError, TargetError
from dpbuild.model.artifact import Artifact
from dpbuild.model.base import Base
from dpbuild.model.builder import BuilderPlan
from dpbuild.model.config import BuilderConfig
from dpbuild.model.recipe import Build
from dpbuild.ports.fetcher import Fetcher
from dpbuild.ports.reporter import Reporter
from dpbuild.ports.sandbox import Sandbox
from dpbuild.stages import builder as stage

if TYPE_CHECKING:
    # A build of wheels alone makes no builder.
    from dpbuild.adapters.backend import Outside, SandboxBackend
    from dpbuild.adapters.builder import DebianBuilders
    from dpbuild.adapters.builder_image import ImageBuilder
    from dpbuild.adapters.pip_builder import BuilderPip
    from dpbuild.adapters.pip_fetch import BuilderFetcher
    from dpbuild.adapters.pip_settings import HostIndexes
    from dpbuild.adapters.store import DiskStore

_INSTALL: Final = "install bubblewrap (and allow user namespaces), Docker or Podman; --builder chooses one of them"


class SandboxBuilders:
    """Implements ``ports.backend.Builders``. ``sandbox`` and ``base_folder`` are called when something is built."""

    def __init__(
        self,
        *,
        debian: Callable[[], DebianBuilders],
        image: ImageBuilder | None,
        sandbox: Callable[[], Sandbox],
        base_folder: Callable[[Base], str],
        store: DiskStore,
        logs: Path,
        config: BuilderConfig,
        reporter: Reporter,
        indexes: Callable[[], HostIndexes],
        outside: Callable[[], Outside],
        offline: bool = False,
    ) -> None:
        self._debian = debian
        self._image = image
        self._sandbox = sandbox
        self._base_folder = base_folder
        self._store = store
        self._logs = logs
        self._config = config
        self._reporter = reporter
        self._indexes = indexes
        self._outside = outside
        self._offline = offline
        self._said: set[str] = set()

    def plan(self, base: Base, packages: tuple[str, ...]) -> BuilderPlan:
        """What a builder consists of now."""
        if self._image is not None:
            return self._image.plan(base)
        suite = stage.suite_of(base.facts)
        if suite is None:
            raise TargetError(
                f"there are no packages to make a builder of for {base.facts.distributor or 'this base'}",
                where=str(base.reference),
                hint="name an image that has the base's Python, its headers and a compiler:"
                " image of [tool.dpbuild.builder]",
            )
        return self._debian().plan(base, suite, packages)

    def pip(self, base: Base, plan: BuilderPlan | None, directory: str) -> BuilderPip:
        """pip in the builder."""
        from dpbuild.adapters.pip_builder import Builder, BuilderPip

        reading = self._reading(base, plan)

        def start() -> tuple[Sandbox, str]:
            sandbox = self._sandbox()
            if not sandbox.isolates:
                raise SandboxError("there is nothing that could run a builder here", hint=_INSTALL)
            return self._start(base, plan)

        return BuilderPip(
            Builder(
                start=start,
                identity=f"{base.descriptor.digest} {self._identity(base, plan)}",
                interpreter=reading.facts.interpreter,
                python=reading.facts.version,
                image=None if reading is base else reading.config.environment,
                env=self._config.env,
                timeout=self._config.timeout,
            ),
            self._store,
            host=self._indexes,
            outside=self._outside(),
            directory=directory,
            offline=self._offline,
        )

    def repair(
        self, base: Base, plan: BuilderPlan, build: Build, wheel: Artifact, tools: Sequence[Artifact]
    ) -> Artifact:
        """The wheel with the libraries that it needs of the builder inside."""
        from dpbuild.adapters.origins import Trees, origins
        from dpbuild.adapters.repair import repair_in

        reading = self._reading(base, plan)

        def trees() -> Trees:
            return self._debian().trees(base, SUITES[plan.suite], plan) if plan.suite else ()

        return repair_in(
            lambda: self._start(base, plan),
            self._store,
            reading.facts.interpreter,
            wheel,
            tools,
            lambda libraries: origins(libraries, self._start(base, plan)[1], reading, trees),
            base=base,
            env={**dict(build.environment), **dict(self._config.env)},
            logs=self._logs,
            timeout=self._config.timeout,
        )

    def fetcher(
        self, base: Base, plan: Callable[[], BuilderPlan | None], directory: str, host: Fetcher
    ) -> BuilderFetcher:
        """What downloads in the builder."""
        from dpbuild.adapters.pip_fetch import BuilderFetcher

        def pip() -> BuilderPip:
            return self.pip(base, plan(), directory)

        return BuilderFetcher(pip, self._store, host, offline=self._offline)

    def _identity(self, base: Base, plan: BuilderPlan | None) -> str:
        return "base" if plan is None else stage.digest(plan, [str(row.digest) for row in base.manifest.layers])

    def _reading(self, base: Base, plan: BuilderPlan | None) -> Base:
        """What the facts of the builder are read from."""
        return base if self._image is None or plan is None else self._image.read(base, plan)

    def backend(self, base: Base, plan: BuilderPlan | None, build: Build) -> SandboxBackend:
        """What builds in it."""
        config = self._config
        from dpbuild.adapters.backend import Environment, SandboxBackend

        return SandboxBackend(
            base.facts,
            self._reading(base, plan).facts.interpreter,
            lambda: self._start(base, plan),
            self._store,
            self._logs,
            Environment(
                identity=self._identity(base, plan),
                env=tuple(sorted({**dict(build.environment), **dict(config.env)}.items())),
                options=build.options,
                timeout=config.timeout,
                memory=config.memory,
                network=config.network,
                compiler=plan is not None,
                fetch=build.fetch,
                outside=self._outside(),
            ),
        )

    def _start(self, base: Base, plan: BuilderPlan | None) -> tuple[Sandbox, str]:
        sandbox = self._sandbox()
        if plan is None:
            if not sandbox.isolates:
                self._once(
                    f"the build backend is run by {sandbox.name}, without isolation (bubblewrap or an engine isolates)"
                )
            return sandbox, self._base_folder(base)
        if not sandbox.isolates:
            raise SandboxError("there is nothing that could run a builder here", hint=_INSTALL)
        self._once(f"builds run in {sandbox.name}")
        if self._image is not None:
            return sandbox, self._image.folder(base, plan)
        debian = self._debian()
        suite = SUITES[plan.suite]
        return sandbox, debian.folder(base, suite, plan)

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._reporter.note(text)
