"""The lock: made, renewed or checked. Beside the pipeline, which builds from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from dpbuild.errors import BaseImageError, DpbuildError, LockError, LockStale, NotFound, SandboxError
from dpbuild.model.config import Config
from dpbuild.model.lock import Lock, LockedRuntime
from dpbuild.oci.platform import Platform
from dpbuild.ports.project import ProjectFolder
from dpbuild.ports.source import Composed, ImageSource
from dpbuild.ports.world import World
from dpbuild.stages import app as app_stage
from dpbuild.stages import config as config_stage
from dpbuild.stages import lock as lock_stage
from dpbuild.stages import lockfile, runtime
from dpbuild.stages.artifacts import fetch_all
from dpbuild.stages.bases import Bases
from dpbuild.stages.builds import Builds, begin
from dpbuild.stages.select import ANY, select
from dpbuild.stages.target import target

LOCK = "pylock.dpbuild.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOptions:
    """What ``dpbuild lock`` adds to the configuration."""

    check: bool = False
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    upgrade_base: bool = False
    builder: str = "auto"
    resolver: str = "uv"


def lock(project: ProjectFolder, flags: Mapping[str, object], options: LockOptions, world: World) -> tuple[str, ...]:
    """Write the lock, or check it; returns what changed, one line for each package. Raises LockStale (42)."""
    config = config_stage.load(project.directory, project.read, flags)
    text = project.read(LOCK)
    if options.check:
        reason = "there is no lock" if text is None else lock_stage.stale(lockfile.loads(text), config)
        if reason is not None:
            raise LockStale(reason, where=LOCK, hint="run dpbuild lock")
        return ()
    previous = _previous(text, world)
    bases = Bases(world, config, None if options.upgrade_base else previous)
    builds = begin(project, config, world, bases.blob, options.builder, locked=False)
    new = _make_lock(project, config, bases, previous, world, options, builds)
    changes = lock_stage.changes(previous, new)
    if not project.write(LOCK, lockfile.dumps(new)):
        raise LockError("the lock cannot be written: the project is read-only", where=f"{project.directory}/{LOCK}")
    _lock_builds(project, config, bases, new, world, builds)
    return changes


def _lock_builds(project: ProjectFolder, config: Config, bases: Bases, new: Lock, world: World, builds: Builds) -> None:
    """The second lock: what the app and sdists are built with, on every platform that has to be locked."""
    files = project.build_files() if app_stage.decide(project, config) == "wheel" else None
    native = files is not None and builds.compiles(files)
    first = True
    for platform, required in lock_stage.wanted_platforms(config, world.host, None):
        if not required:
            continue
        base = bases.get(platform)
        goal = target(base.facts, platform)
        chosen = select(new.packages, goal, allow_sdist=ANY, no_binary=config.no_binary, where=LOCK)
        sdists = [row for row in chosen if not row[1].name.endswith(".whl")]
        app = files if first or native else None
        first = False
        try:
            found = fetch_all(sdists, project.directory, world.store, world.fetcher, world.reporter)
            builds.lock(base, found, app)
        except SandboxError as problem:
            world.reporter.note(f"what is built on {platform} is not locked: {problem.what}")
    builds.write(project)


def lock_for_build(
    project: ProjectFolder,
    config: Config,
    platforms: Sequence[Platform],
    world: World,
    *,
    locked: bool,
    frozen: bool,
    builder: str = "auto",
) -> tuple[Lock, str, Bases, Builds]:
    """The lock that is there if it fits, else a new one; its text, and what builds what it names."""
    text = project.read(LOCK)
    if text is None and (locked or frozen):
        raise LockStale("there is no lock", where=f"{project.directory}/{LOCK}", hint="run dpbuild lock")
    if locked or frozen:
        assert text is not None  # noqa: S101 - refused above
        found = lockfile.loads(text)
        reason = None if frozen else lock_stage.stale(found, config, platforms)
        bases = Bases(world, config, found)
        if reason is not None:
            python = "" if found.base_reference == str(config.base) else _moved(found, platforms, bases)
            raise LockStale(f"the lock is stale: {reason}{python}", where=LOCK, hint="run dpbuild lock")
        return found, text, bases, begin(project, config, world, bases.blob, builder, locked=True)
    previous = _previous(text, world)
    reason = "there is no lock" if previous is None else lock_stage.stale(previous, config, platforms)
    bases = Bases(world, config, previous)
    builds = begin(project, config, world, bases.blob, builder, locked=False)
    if reason is None and previous is not None and text is not None:
        return previous, text, bases, builds
    new = _make_lock(project, config, bases, previous, world, LockOptions(builder=builder), builds)
    if previous is not None:
        world.reporter.note(f"the lock was renewed: {reason}")
        for line in lock_stage.changes(previous, new):
            world.reporter.note(f"  {line}")
    text = lockfile.dumps(new)
    if not project.write(LOCK, text):
        world.reporter.note("the project is read-only, so the lock was not kept")
    return new, text, bases, builds


def _moved(lock: Lock, platforms: Sequence[Platform], bases: Bases) -> str:
    """What another base means for Python; "" where it is the same, or the base cannot be read."""
    try:
        found = [lock_stage.moved(lock, row, bases.get(row).facts.version) for row in platforms[:1]]
    except DpbuildError:
        return ""
    return "".join(f" ({row})" for row in found if row)


def _previous(text: str | None, world: World) -> Lock | None:
    if text is None:
        return None
    try:
        return lockfile.loads(text)
    except LockError as problem:
        world.reporter.note(f"the lock that is there cannot be read and is made anew: {problem.what}")
        return None


def _make_lock(
    project: ProjectFolder,
    config: Config,
    bases: Bases,
    previous: Lock | None,
    world: World,
    options: LockOptions,
    builds: Builds,
) -> Lock:
    targets = []
    dates: list[str] = []
    for platform, required in lock_stage.wanted_platforms(config, world.host, previous):
        try:
            base = bases.get(platform)
            found = target(base.facts, platform)
        except (BaseImageError, NotFound) as problem:
            if required:
                raise
            world.reporter.note(f"{platform} is not locked: {problem.what}")
            continue
        packages, date = _composition(bases.source(platform), platform)
        dates.append(date)
        targets.append(
            lock_stage.LockTarget(target=found, base=lock_stage.locked_base(base, packages), required=required)
        )
    first = bases.get(targets[0].target.platform)
    with world.reporter.step("locking") as step:
        new = lock_stage.make_lock(
            config,
            targets,
            world.resolver if options.resolver == "uv" else builds.pip_tools(bases.get),
            project.read,
            base_digest=str(first.root.digest),
            base_date=max(dates),
            previous=previous,
            upgrade=options.upgrade,
            upgrade_packages=options.upgrade_packages,
            allow_sdist=frozenset() if options.builder == "none" else ANY,
            metadata=lambda package, target: builds.metadata(bases.get(target.platform), package),
            note=world.reporter.note,
        )
        step.done(f"{len(new.packages)} packages for {', '.join(new.platforms)}")
    kept = None if options.upgrade or options.upgrade_base else previous
    return replace(new, runtime=_runtime(config, new, bases, kept, world))


def _runtime(config: Config, new: Lock, bases: Bases, kept: Lock | None, world: World) -> tuple[LockedRuntime, ...]:
    """The Debian packages of every platform; those of ``kept`` stay where nothing that decides them changed."""
    rows = []
    for text in new.platforms:
        base = bases.get(Platform.parse(text))
        want = runtime.wanted(config, new.packages, target(base.facts, base.platform), base, world.reporter.note)
        rows.append(runtime.lock_runtime(want, base, kept, partial(world.debian_packages, config, base)))
    return tuple(row for row in rows if row is not None)


def _composition(source: ImageSource, platform: Platform) -> tuple[tuple[tuple[str, str, str], ...], str]:
    """What a composed base was made of, for the lock; nothing for any other."""
    if not isinstance(source, Composed):
        return (), ""
    row = next(each for each in source.composition if each.platform == platform)
    return row.packages, row.date
