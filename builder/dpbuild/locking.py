"""The lock: made, renewed or checked. Beside the pipeline, which builds from it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from dpbuild.errors import BaseImageError, LockError, LockStale, NotFound, SandboxError, UsageError
from dpbuild.frozen import frozen, replace
from dpbuild.model.config import Config
from dpbuild.model.lock import Lock, LockedPackage, LockedRuntime
from dpbuild.model.target import Target
from dpbuild.model.words import counted
from dpbuild.oci.platform import Platform
from dpbuild.ports.project import ProjectFolder
from dpbuild.ports.source import Composed, ImageSource
from dpbuild.ports.world import World
from dpbuild.pypa.metadata import Metadata
from dpbuild.stages import app as app_stage
from dpbuild.stages import buildlock, inputs, lockfile, runtime
from dpbuild.stages import config as config_stage
from dpbuild.stages import lock as lock_stage
from dpbuild.stages.bases import Bases
from dpbuild.stages.builds import Builds, begin
from dpbuild.stages.select import ANY, select
from dpbuild.stages.target import target


@frozen
class LockOptions:
    """What ``dpbuild lock`` adds to the configuration. ``resolver`` "" is the configured one, the lock's or uv."""

    check: bool = False
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    upgrade_base: bool = False
    builder: str = "auto"
    resolver: str = ""


def lock(project: ProjectFolder, flags: Mapping[str, object], options: LockOptions, world: World) -> tuple[str, ...]:
    """Write the lock, or check it; returns what changed, one line for each package. Raises LockStale (42)."""
    config = config_stage.load(project.directory, project.read, flags)
    text = project.read(lockfile.NAME)
    inputs.check_given(config, world.reporter.note, locked=options.check)
    if options.check:
        if text is None:
            raise LockStale("there is no lock", where=lockfile.NAME, hint="run dpbuild lock")
        found = lockfile.loads(text)
        reason = lock_stage.stale(found, config)
        if reason is not None:
            raise LockStale(reason, where=lockfile.NAME, hint="run dpbuild lock")
        world.reporter.result(f"the lock is current: {_summary(found)}")
        return ()
    previous = lockfile.kept(text, world.reporter.note)
    _check_upgrade(config, options, previous, project, world.reporter.note)
    bases = Bases(world, config, None if options.upgrade_base else previous)
    builds = begin(project, config, world, bases.blob, options.builder, locked=False, fresh=options.upgrade)
    new = make_lock(project, config, bases, previous, world, options, builds)
    changes = lock_stage.changes(previous, new)
    written = lockfile.dumps(new)
    if not project.write(lockfile.NAME, written):
        raise LockError(
            "the lock cannot be written: the project is read-only", where=f"{project.directory}/{lockfile.NAME}"
        )
    _lock_builds(project, config, bases, new, world, builds)
    world.reporter.result(f"the lock is {'current' if text == written else 'written'}: {_summary(new)}")
    return changes


def _summary(lock: Lock) -> str:
    return f"{counted(len(lock.packages), 'package')} for {', '.join(lock.platforms)}"


def _check_upgrade(
    config: Config, options: LockOptions, previous: Lock | None, project: ProjectFolder, note: Callable[[str], None]
) -> None:
    """Whether there is anything to upgrade here: versions of another tool's lock are its own. Raises UsageError."""
    found = config.requirements
    if not (options.upgrade or options.upgrade_packages) or found.kind not in ("uv-lock", "pylock", "hashed"):
        return
    what = f"versions come from {found.origin}, which dpbuild does not change"
    rest = ["Debian's packages"] if previous is not None and previous.runtime else []
    rest += [] if project.read(buildlock.NAME) is None else ["build requirements"]
    if options.upgrade and rest:
        note(f"{what}: only {' and '.join(rest)} are upgraded")
        return
    words = " ".join(
        ("--upgrade",) if options.upgrade else (f"--upgrade-package {row}" for row in options.upgrade_packages)
    )
    renew = f"run uv lock {words}" if found.kind == "uv-lock" else f"upgrade {found.origin} with what made it"
    raise UsageError(what, hint=f"{renew}, then dpbuild lock")


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
        chosen = select(new.packages, goal, allow_sdist=ANY, no_binary=config.no_binary, where=lockfile.NAME)
        sdists = [row for row in chosen if not row[1].name.endswith(".whl")]
        app = files if first or native else None
        first = False
        try:
            builds.lock(base, builds.downloaded(base, sdists), app)
        except SandboxError as problem:
            world.reporter.note(f"what is built on {platform} is not locked: {problem.what}")
    builds.write(project)


def make_lock(
    project: ProjectFolder,
    config: Config,
    bases: Bases,
    previous: Lock | None,
    world: World,
    options: LockOptions,
    builds: Builds,
) -> Lock:
    """A new lock for the project, which is not written. Raises what resolving and reading the bases raise."""
    # Who chose another resolver wants its answers, from whoever renews the lock. A lock of another tool is as it is.
    resolver = options.resolver or (previous.resolver if previous else "uv")
    resolver = "uv" if config.requirements.kind in ("uv-lock", "pylock") else resolver
    targets = []
    dates: list[str] = []
    wanted = lock_stage.wanted_platforms(config, world.host, previous)
    for platform, required in wanted:
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
    instead = _instead(wanted, previous, world.host)

    def metadata(package: LockedPackage, goal: Target) -> Metadata:
        return builds.metadata(bases.get(goal.platform), package, instead.get(goal.platform, ""))

    first = bases.get(targets[0].target.platform)
    with world.reporter.step("locking") as step:
        new = lock_stage.make_lock(
            config,
            targets,
            builds.reach.resolver(bases.get, options.resolver or ("" if config.builder.resolve else resolver)),
            project.read,
            base_digest=str(first.root.digest),
            base_date=max(dates),
            previous=previous,
            upgrade=options.upgrade,
            upgrade_packages=options.upgrade_packages,
            allow_sdist=frozenset() if options.builder == "none" else ANY,
            metadata=metadata,
            note=world.reporter.note,
        )
        step.done(_summary(new))
    kept = None if options.upgrade or options.upgrade_base else previous
    return replace(new, runtime=_runtime(config, new, bases, kept, world), resolver=resolver)


def _instead(wanted: Sequence[tuple[Platform, bool]], previous: Lock | None, host: Platform) -> dict[Platform, str]:
    """The platforms that nobody asked for and that this machine would emulate, which takes minutes for each sdist; and
    how to ask. One that is locked already was asked for.
    """
    kept = previous.platforms if previous else ()
    required = [str(platform) for platform, is_required in wanted if is_required]
    out = {}
    for platform, is_required in wanted:
        if not is_required and platform.architecture != host.architecture and str(platform) not in kept:
            words = ", ".join(f'"{row}"' for row in (*required, str(platform)))
            out[platform] = f"platforms = [{words}] has that done"
    return out


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
