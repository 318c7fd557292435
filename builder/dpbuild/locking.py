"""The lock: made, renewed or checked. Beside the pipeline, which builds from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from dpbuild.errors import BaseImageError, LockError, LockStale, NotFound
from dpbuild.model.config import Config
from dpbuild.model.lock import Lock, LockedRuntime
from dpbuild.oci.platform import Platform
from dpbuild.ports.project import ProjectFolder
from dpbuild.ports.source import Composed, ImageSource
from dpbuild.ports.world import World
from dpbuild.stages import config as config_stage
from dpbuild.stages import lock as lock_stage
from dpbuild.stages import lockfile, runtime
from dpbuild.stages.bases import Bases
from dpbuild.stages.select import ANY
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
    new = _make_lock(project, config, bases, previous, world, options)
    changes = lock_stage.changes(previous, new)
    if not project.write(LOCK, lockfile.dumps(new)):
        raise LockError("the lock cannot be written: the project is read-only", where=f"{project.directory}/{LOCK}")
    return changes


def lock_for_build(
    project: ProjectFolder,
    config: Config,
    platforms: Sequence[Platform],
    world: World,
    *,
    locked: bool,
    frozen: bool,
    builder: str = "auto",
) -> tuple[Lock, str, Bases]:
    """The lock that is there if it fits, else a new one; and its text."""
    text = project.read(LOCK)
    if text is None and (locked or frozen):
        raise LockStale("there is no lock", where=f"{project.directory}/{LOCK}", hint="run dpbuild lock")
    if locked or frozen:
        assert text is not None  # noqa: S101 - refused above
        found = lockfile.loads(text)
        reason = None if frozen else lock_stage.stale(found, config, platforms)
        if reason is not None:
            raise LockStale(f"the lock is stale: {reason}", where=LOCK, hint="run dpbuild lock")
        return found, text, Bases(world, config, found)
    previous = _previous(text, world)
    reason = "there is no lock" if previous is None else lock_stage.stale(previous, config, platforms)
    bases = Bases(world, config, previous)
    if reason is None and previous is not None and text is not None:
        return previous, text, bases
    new = _make_lock(project, config, bases, previous, world, LockOptions(builder=builder))
    if previous is not None:
        world.reporter.note(f"the lock was renewed: {reason}")
        for line in lock_stage.changes(previous, new):
            world.reporter.note(f"  {line}")
    text = lockfile.dumps(new)
    if not project.write(LOCK, text):
        world.reporter.note("the project is read-only, so the lock was not kept")
    return new, text, bases


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
            world.resolver,
            project.read,
            base_digest=str(first.root.digest),
            base_date=max(dates),
            previous=previous,
            upgrade=options.upgrade,
            upgrade_packages=options.upgrade_packages,
            allow_sdist=frozenset() if options.builder == "none" else ANY,
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
