"""What one run builds from source: the app and sdists, each with its recipe, its builder and locked requirements."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from dpbuild.errors import LockError, LockStale, NoCompatibleWheel, SdistBuildFailed
from dpbuild.model.artifact import Artifact
from dpbuild.model.base import Base
from dpbuild.model.builder import BuilderPlan, BuildLock
from dpbuild.model.config import Config
from dpbuild.model.files import ProjectFile
from dpbuild.model.lock import Lock, LockedFile, LockedPackage
from dpbuild.model.recipe import Build
from dpbuild.model.target import Target
from dpbuild.ports.backend import Backend, Builders
from dpbuild.ports.project import ProjectFolder
from dpbuild.ports.world import Blob, World
from dpbuild.stages import buildlock, recipes, sdist
from dpbuild.stages.app_wheel import build_app
from dpbuild.stages.artifacts import fetch_all
from dpbuild.stages.building import Built, Fetch, Work, requires
from dpbuild.stages.buildlock import APP, NAME
from dpbuild.stages.select import select
from dpbuild.stages.target import target


@dataclass(slots=True)
class Builds:
    """Builds wheels and keeps the second lock. With ``locked`` nothing in it may be missing or change."""

    world: World
    config: Config
    builders: Builders
    kind: str
    locked: bool
    units: dict[tuple[str, str], Lock] = field(default_factory=dict)
    plans: dict[tuple[str, tuple[str, ...]], BuilderPlan] = field(default_factory=dict)
    used: set[tuple[str, str]] = field(default_factory=set)
    planned: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)
    wheels_used: list[tuple[LockedPackage, LockedFile]] = field(default_factory=list)
    text: str = ""

    def app(self, base: Base, files: tuple[ProjectFile, ...]) -> Artifact:
        """The app's wheel; :meth:`compiles` says whether it is for the base's platform alone."""
        goal = target(base.facts, base.platform)
        native = self.compiles(files)
        built = build_app(
            self.config,
            files,
            base.facts,
            goal,
            self._known(APP, base),
            backend=self._backend(base, Build(), compiler=native),
            resolver=self.world.resolver,
            fetch=self._fetch(goal),
            store=self.world.store,
            reporter=self.world.reporter,
            locked=self.locked,
            native=native,
        )
        return self._kept(APP, base, goal, built)

    def compiles(self, files: Iterable[ProjectFile]) -> bool:
        """Whether the app is built with a compiler: it has sources for one, or the configuration wants a builder."""
        config = self.config
        asked = bool(config.builder.packages or config.builder.image)
        return asked or sdist.compiles([file.path for file in files], requires(config.project))

    def wheels(self, base: Base, artifacts: Iterable[Artifact]) -> tuple[Artifact, ...]:
        """The artifacts with every sdist replaced by the wheel that it makes, in the same order."""
        return tuple(row if row.filename.endswith(".whl") else self._sdist(base, row) for row in artifacts)

    def _sdist(self, base: Base, artifact: Artifact) -> Artifact:
        title = f"{artifact.name} {artifact.version}"
        if self.kind == "none":
            raise NoCompatibleWheel(
                f"{title} has to be built from its sdist, and --builder none forbids that",
                hint="leave --builder out, or choose a version that has a wheel",
            )
        with self.world.store.open(artifact.digest) as file:
            found = sdist.read(file, artifact.filename, artifact.name, artifact.version)
        suite = recipes.suite_of(base.facts.distributor)
        recipe = recipes.choose(artifact.name, artifact.version, suite, self.config.recipes)
        compiler = recipe is not None or sdist.compiles(found.names, requires(found.project))
        goal = target(base.facts, base.platform)
        unit = buildlock.unit(artifact.name, artifact.version)
        work = Work(
            title=title,
            project=found.project,
            source=artifact,
            content=artifact.digest.hex,
            facts=base.facts,
            target=goal,
            backend=self._backend(base, recipe.build_on(suite) if recipe else Build(), compiler=compiler),
            resolver=self.world.resolver,
            fetch=self._fetch(goal),
            store=self.world.store,
            reporter=self.world.reporter,
            find_links=self.config.find_links,
            directory=self.config.directory,
        )
        try:
            built = work.build(self._known(unit, base), locked=self.locked)
        except SdistBuildFailed as problem:
            versions = recipes.outside(artifact.name, artifact.version, suite, self.config.recipes)
            if versions:
                problem.hint = f"dpbuild has a recipe for {artifact.name} {versions}, not for {artifact.version}"
            raise
        if built.artifact.name != artifact.name:
            raise SdistBuildFailed(f"{artifact.filename} made a wheel of something else: {built.artifact.filename}")
        return self._kept(unit, base, goal, built)

    def _backend(self, base: Base, build: Build, *, compiler: bool) -> Backend:
        plan = self._plan(base, build.packages) if compiler else None
        return self.builders.backend(base, plan, build)

    def _plan(self, base: Base, packages: tuple[str, ...]) -> BuilderPlan:
        """The builder: as it is locked, if it was locked for this very base."""
        wanted = tuple(sorted({*packages, *self.config.builder.packages}))
        key = str(base.platform), wanted
        self.planned.add(key)
        known = self.plans.get(key)
        if known is not None and known.base == str(base.descriptor.digest):
            return known
        if self.locked:
            raise LockStale(
                f"there is no lock of the builder for {base.platform}",
                where=NAME,
                hint="run dpbuild build without --locked",
            )
        self.plans[key] = self.builders.plan(base, wanted)
        return self.plans[key]

    def _known(self, unit: str, base: Base) -> Lock | None:
        return self.units.get((unit, str(base.platform)))

    def _kept(self, unit: str, base: Base, goal: Target, built: Built) -> Artifact:
        key = unit, str(base.platform)
        self.units[key] = built.lock
        self.used.add(key)
        self.wheels_used += select(built.lock.packages, goal, where=NAME)
        return built.artifact

    def _fetch(self, goal: Target) -> Fetch:
        world = self.world
        return lambda lock: fetch_all(
            select(lock.packages, goal, where=NAME), self.config.directory, world.store, world.fetcher, world.reporter
        )

    def write(self, project: ProjectFolder) -> str:
        """Write the second lock, if anything in it changed; its text, "" where nothing is built.

        What was locked for other platforms than those of this run stays.
        """
        platforms = {platform for _, platform in self.used}
        units = {key: lock for key, lock in self.units.items() if key in self.used or key[1] not in platforms}
        if not units:
            return ""
        plans = tuple(plan for key, plan in self.plans.items() if key in self.planned or key[0] not in platforms)
        text = buildlock.dumps(BuildLock(units=tuple(sorted(units.items())), builders=plans))
        if text != self.text:
            project.write(NAME, text)
        return text


def begin(project: ProjectFolder, config: Config, world: World, blob: Blob, kind: str, *, locked: bool) -> Builds:
    """What there is of the second lock. Raises LockError for a broken one that has to be used."""
    builds = Builds(world, config, world.builders(config, blob, kind), kind, locked)
    text = project.read(NAME)
    if text is not None:
        try:
            found = buildlock.loads(text)
        except LockError as problem:
            if locked:
                raise
            world.reporter.note(f"the lock of build requirements cannot be read and is made anew: {problem.what}")
        else:
            builds.text = text
            builds.units = dict(found.units)
            builds.plans = {(row.platform, row.wanted): row for row in found.builders}
    return builds
