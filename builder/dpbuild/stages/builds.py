"""What one run builds from source: the app and sdists, each with its recipe, its builder and locked requirements."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name
from packaging.version import Version

from dpbuild.errors import LockError, LockStale, NoCompatibleWheel, SdistBuildFailed, UnsupportedRequirement
from dpbuild.model.artifact import Artifact
from dpbuild.model.base import Base
from dpbuild.model.builder import BuilderPlan, BuildLock
from dpbuild.model.config import Config, Project
from dpbuild.model.files import ProjectFile
from dpbuild.model.lock import Lock, LockedFile, LockedPackage
from dpbuild.model.recipe import Build
from dpbuild.model.target import Target
from dpbuild.ports.backend import Builders, Source
from dpbuild.ports.project import ProjectFolder
from dpbuild.ports.world import Blob, World
from dpbuild.pypa import metadata
from dpbuild.pypa.metadata import Metadata
from dpbuild.stages import buildlock, recipes, repair, sdist
from dpbuild.stages.app import files_key
from dpbuild.stages.artifacts import fetch_all
from dpbuild.stages.building import Work, requires
from dpbuild.stages.buildlock import APP, NAME, RENEW
from dpbuild.stages.lock import build_stale, make_build_lock
from dpbuild.stages.reach import Reach
from dpbuild.stages.sdist import Sdist
from dpbuild.stages.select import ANY, select
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
    reach: Reach = field(init=False)
    wheels_used: list[tuple[LockedPackage, LockedFile]] = field(default_factory=list)
    text: str = ""
    # What is being built or asked at this moment, the outermost first.
    under_way: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reach = Reach(self.world, self.config, self.builders, lambda: self.plans)

    def app(self, base: Base, files: tuple[ProjectFile, ...]) -> Artifact:
        """The app's wheel; :meth:`compiles` says whether it is for the base's platform alone."""
        work = self._app(base, files)
        artifact = self._built(APP, base, work)
        if not self.compiles(files) and not artifact.filename.endswith("-any.whl"):
            raise NoCompatibleWheel(
                f"the project makes {artifact.filename}, which is for one platform, but has no sources to compile",
                hint="add packages to [tool.dpbuild.builder], and it is built where there is a compiler",
            )
        return artifact

    def compiles(self, files: Iterable[ProjectFile]) -> bool:
        """Whether the app is built with a compiler: it has sources for one, or the configuration wants a builder."""
        config = self.config
        asked = bool(config.builder.packages or config.builder.image)
        return asked or sdist.compiles([file.path for file in files], requires(config.project))

    def wheels(self, base: Base, artifacts: Iterable[Artifact]) -> tuple[Artifact, ...]:
        """The artifacts with every sdist replaced by the wheel that it makes, in the same order."""
        return tuple(row if row.filename.endswith(".whl") else self._sdist(base, row) for row in artifacts)

    def lock(self, base: Base, artifacts: Iterable[Artifact], app: tuple[ProjectFile, ...] | None) -> None:
        """Lock what the sdists among the artifacts and the app's wheel (if there is one) are built with."""
        for row in artifacts:
            if not row.filename.endswith(".whl"):
                self._lock(buildlock.unit(row.name, row.version), base, self._work(base, row)[0])
        if app is not None:
            self._lock(APP, base, self._app(base, app))

    def metadata(self, base: Base, package: LockedPackage, instead: str = "") -> Metadata:
        """What a locked sdist requires: what it says itself where a build cannot change that (PEP 643), else
        what its backend answers. Raises UnsupportedRequirement for metadata that are those of something else, and
        SandboxError where a backend would be asked, but the user is to be told what to do ``instead``.
        """
        if package.sdist is None:
            raise LockError(f"{package.name} {package.version} has no sdist")
        (artifact,) = self.downloaded(base, [(package, package.sdist)])
        work, found = self._work(base, artifact, instead)
        text = sdist.static_metadata(found.metadata)
        if not text:
            unit = buildlock.unit(artifact.name, artifact.version)
            with self._inside(work.title):
                text = work.metadata(self._lock(unit, base, work))
        try:
            said = metadata.parse(text)
        except ValueError as problem:
            raise UnsupportedRequirement(f"{artifact.filename}: {problem}") from None
        if (canonicalize_name(said.name), Version(said.version)) != (package.name, Version(package.version)):
            raise UnsupportedRequirement(f"{artifact.filename} says that it is {said.name} {said.version}")
        return said

    def _tools(self, unit: str, requires: tuple[str, ...], base: Base, goal: Target) -> Lock:
        """The lock of what is brought into the builder beside the build requirements of anything."""
        key = unit, str(base.platform)
        lock = self.units.get(key)
        if lock is None or (reason := build_stale(lock, requires, goal, self.config.find_links)):
            if self.locked:
                what = (
                    f"there is no lock of the tools of {unit}"
                    if lock is None
                    else f"the lock of {unit} is stale: {reason}"
                )
                raise LockStale(what, where=NAME, hint=RENEW)
            links, directory = self.config.find_links, self.config.directory
            resolver = self.reach.resolver(lambda _: base)
            lock = make_build_lock(requires, goal, resolver, find_links=links, directory=directory, previous=lock)
        self.units[key] = lock
        self.used.add(key)
        return lock

    def _repair(
        self, base: Base, plan: BuilderPlan | None, build: Build
    ) -> Callable[[Artifact, tuple[Artifact, ...]], Artifact] | None:
        wanted = self.config.builder.repair if build.repair is None else build.repair
        # What no compiler made needs no libraries.
        if plan is None or not wanted:
            return None
        return lambda wheel, tools: self.builders.repair(base, plan, build, wheel, tools)

    def _repair_tools(self, base: Base, goal: Target) -> Lock:
        fresh = (repair.UNIT, str(base.platform)) not in self.used
        lock = self._tools(repair.UNIT, repair.REQUIRES, base, goal)
        if fresh:
            self.wheels_used += select(lock.packages, goal, allow_sdist=ANY, where=NAME)
        return lock

    def _fetched(self, lock: Lock, base: Base, goal: Target) -> tuple[Artifact, ...]:
        """The wheels of build requirements; what there is no wheel of is built."""
        return self.wheels(base, self.downloaded(base, select(lock.packages, goal, allow_sdist=ANY, where=NAME)))

    def downloaded(self, base: Base, chosen: Iterable[tuple[LockedPackage, LockedFile]]) -> tuple[Artifact, ...]:
        """Files that are locked, in the store and verified, sorted by name. Raises HashMismatch, ArtifactError."""
        world = self.world
        return fetch_all(chosen, self.config.directory, world.store, self.reach.fetcher(base), world.reporter)

    @contextlib.contextmanager
    def _inside(self, title: str) -> Iterator[None]:
        """Whatever is built in the block is built for ``title``. Raises NoCompatibleWheel for a loop."""
        if title in self.under_way:
            way = " -> ".join((*self.under_way[self.under_way.index(title) :], title))
            raise NoCompatibleWheel(
                f"{title} is needed to build itself: {way}",
                hint="one of them has to come as a wheel: choose a version that has one, or offer it in find-links",
            )
        self.under_way.append(title)
        try:
            yield
        finally:
            self.under_way.pop()

    def _app(self, base: Base, files: tuple[ProjectFile, ...]) -> Work:
        plan = self._plan(base, ()) if self.compiles(files) else None
        return self._prepared(base, "the app's wheel", self.config.project, files, files_key(files), plan, Build())

    def _work(self, base: Base, artifact: Artifact, instead: str = "") -> tuple[Work, Sdist]:
        title = f"{artifact.name} {artifact.version}"
        if self.kind == "none":
            raise NoCompatibleWheel(
                f"{title} has to be built from its sdist, and --builder none forbids that",
                hint="leave --builder out, or choose a version that has a wheel",
            )
        with self.world.store.open(artifact.digest) as file:
            found = sdist.read(file, artifact.filename, artifact.name, artifact.version)
        if instead:
            sdist.check_static(found, title, instead)
        suite = recipes.suite_of(base.facts.distributor)
        recipe = recipes.choose(artifact.name, artifact.version, suite, self.config.recipes)
        compiler = recipe is not None or sdist.compiles(found.names, requires(found.project))
        build = recipe.build_on(suite) if recipe else Build()
        plan = self._plan(base, build.packages) if compiler else None
        return self._prepared(base, title, found.project, artifact, artifact.digest.hex, plan, build), found

    def _prepared(
        self,
        base: Base,
        title: str,
        project: Project,
        source: Source,
        content: str,
        plan: BuilderPlan | None,
        build: Build,
    ) -> Work:
        goal = target(base.facts, base.platform)
        world = self.world
        return Work(
            title=title,
            project=project,
            source=source,
            content=content,
            facts=base.facts,
            target=goal,
            backend=self.builders.backend(base, plan, build),
            resolver=self.reach.resolver(lambda _: base),
            fetch=lambda lock: self._fetched(lock, base, goal),
            store=world.store,
            reporter=world.reporter,
            find_links=self.config.find_links,
            directory=self.config.directory,
            metadata_of=None if self.kind == "none" else lambda package: self.metadata(base, package),
            repair=self._repair(base, plan, build),
        )

    def _sdist(self, base: Base, artifact: Artifact) -> Artifact:
        work, _ = self._work(base, artifact)
        try:
            with self._inside(work.title):
                built = self._built(buildlock.unit(artifact.name, artifact.version), base, work)
        except SdistBuildFailed as problem:
            suite = recipes.suite_of(base.facts.distributor)
            versions = recipes.outside(artifact.name, artifact.version, suite, self.config.recipes)
            if versions:
                problem.hint = f"dpbuild has a recipe for {artifact.name} {versions}, not for {artifact.version}"
            raise
        if built.name != artifact.name:
            raise SdistBuildFailed(f"{artifact.filename} made a wheel of something else: {built.filename}")
        return built

    def _built(self, unit: str, base: Base, work: Work) -> Artifact:
        wheel = work.wheel(self._lock(unit, base, work))
        return wheel if work.repair is None else work.repaired(wheel, self._repair_tools(base, work.target))

    def _lock(self, unit: str, base: Base, work: Work) -> Lock:
        key = unit, str(base.platform)
        lock = work.lock(self.units.get(key), locked=self.locked)
        self.units[key] = lock
        if key not in self.used:
            self.used.add(key)
            if work.repair is not None:
                self._repair_tools(base, work.target)
            chosen = work.chosen(lock)
            self.wheels_used += chosen
            with self._inside(work.title) if work.title not in self.under_way else contextlib.nullcontext():
                self._lock_sdists(base, [row for row in chosen if not row[1].name.endswith(".whl")])
        return lock

    def _lock_sdists(self, base: Base, chosen: Iterable[tuple[LockedPackage, LockedFile]]) -> None:
        """Lock what build requirements are built with that are sdists themselves."""
        for row in self.downloaded(base, chosen):
            work, _ = self._work(base, row)
            with self._inside(work.title):
                self._lock(buildlock.unit(row.name, row.version), base, work)

    def _plan(self, base: Base, packages: tuple[str, ...]) -> BuilderPlan:
        """The builder: as it is locked, if it was locked for this very base."""
        image = self.config.builder.image
        # An image has what it has.
        wanted = () if image else tuple(sorted({*packages, *self.config.builder.packages}))
        key = str(base.platform), wanted
        self.planned.add(key)
        known = self.plans.get(key)
        if known is not None and (known.base, known.image) == (str(base.descriptor.digest), image):
            return known
        if self.locked:
            raise LockStale(
                f"there is no lock of the builder for {base.platform}",
                where=NAME,
                hint=RENEW,
            )
        self.plans[key] = self.builders.plan(base, wanted)
        return self.plans[key]

    def write(self, project: ProjectFolder | None) -> str:
        """Write the second lock, if anything in it changed; its text, "" where nothing is built.

        What was locked for other platforms than those of this run stays. Nothing is written with ``locked``, or without
        a project.
        """
        if self.locked or not self.used:
            return self.text if self.used else ""
        platforms = {platform for _, platform in self.used}
        units = {key: lock for key, lock in self.units.items() if key in self.used or key[1] not in platforms}
        if not units:
            return ""
        plans = tuple(plan for key, plan in self.plans.items() if key in self.planned or key[0] not in platforms)
        text = buildlock.dumps(BuildLock(units=tuple(sorted(units.items())), builders=plans))
        if text != self.text and project is not None:
            project.write(NAME, text)
        return text


def begin(
    project: ProjectFolder, config: Config, world: World, blob: Blob, kind: str, *, locked: bool, fresh: bool = False
) -> Builds:
    """What there is of the second lock; with ``fresh`` none of it holds. Raises LockError for a broken one that has to
    be used.
    """
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
            builds.units = {} if fresh else dict(found.units)
            builds.plans = {} if fresh else {(row.platform, row.wanted): row for row in found.builders}
    return builds
