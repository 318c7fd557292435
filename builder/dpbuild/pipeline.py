"""The order of the stages: this is the only place that shows it.

config -> Base -> Target -> Lock -> Artifacts -> Layers -> Image -> Sink
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dpbuild.errors import (
    ArtifactError,
    BaseImageError,
    DigestDrift,
    LockError,
    LockStale,
    NotFound,
    RegistryError,
    StoreError,
    UsageError,
)
from dpbuild.model.config import Config
from dpbuild.model.image import Image, Images, Written
from dpbuild.model.layer import Layer
from dpbuild.model.lock import Lock
from dpbuild.oci.codec import encode_descriptor
from dpbuild.oci.platform import Platform
from dpbuild.ports.project import ProjectFolder
from dpbuild.ports.source import Composed, ImageSource
from dpbuild.ports.store import DamagedEntry
from dpbuild.ports.world import World
from dpbuild.stages import app as app_stage
from dpbuild.stages import app_wheel, lockfile
from dpbuild.stages import config as config_stage
from dpbuild.stages import lock as lock_stage
from dpbuild.stages.artifacts import fetch_all
from dpbuild.stages.bases import Bases
from dpbuild.stages.contents import LayerContents
from dpbuild.stages.image import choose_entrypoint, combine, make_image
from dpbuild.stages.layers.bytecode import standard_library
from dpbuild.stages.layers.make import make_layers
from dpbuild.stages.layers.replaced import replaced
from dpbuild.stages.layers.site import Site
from dpbuild.stages.select import select
from dpbuild.stages.target import target

LOCK = "pylock.dpbuild.toml"
# How often a build begins again because of damaged entries; each time there is one less.
_DAMAGED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What the command line adds to the configuration; ``epoch`` is in seconds, None where nothing says it."""

    push: bool = False
    load: bool = False
    outputs: tuple[str, ...] = ()
    locked: bool = False
    frozen: bool = False
    builder: str = "auto"
    epoch: int | None = None
    expect_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOptions:
    """What ``dpbuild lock`` adds to the configuration."""

    check: bool = False
    upgrade: bool = False
    upgrade_packages: tuple[str, ...] = ()
    upgrade_base: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build made and where it went."""

    images: Images
    written: tuple[Written, ...]

    def metadata(self) -> dict[str, Any]:
        """For ``--metadata-file``."""
        return {
            "digest": str(self.images.descriptor.digest),
            "images": [encode_descriptor(image.descriptor) for image in self.images.images],
            "outputs": [
                {
                    "kind": row.kind,
                    "reference": row.reference,
                    "tags": list(row.tags),
                    "digest": str(row.descriptor.digest),
                    "mediaType": row.descriptor.media_type,
                    "size": row.descriptor.size,
                    "platforms": [str(platform) for platform in row.platforms],
                }
                for row in self.written
            ],
        }


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


def build(project: ProjectFolder, flags: Mapping[str, object], options: BuildOptions, world: World) -> Built:
    """Make the image and write it everywhere it was asked for.

    An entry of the store that turns out to be damaged is discarded where it is found, and the build begins
    again without it; what is not damaged is found again. Raises StoreError where it cannot be had any more.
    """
    damaged = ""
    for _ in range(_DAMAGED):
        try:
            return _build(project, flags, options, world)
        except DamagedEntry as problem:
            damaged = problem.args[0]
        except (ArtifactError, RegistryError, BaseImageError) as problem:
            if not damaged:
                raise
            raise StoreError(
                f"an entry of the store was damaged and cannot be had again: {problem.what}", where=problem.where
            ) from problem
    raise StoreError(
        f"the store is damaged over and over: {damaged}", hint="check the disk, or use another --cache-dir"
    )


def _build(project: ProjectFolder, flags: Mapping[str, object], options: BuildOptions, world: World) -> Built:
    started = world.clock()
    config = config_stage.load(project.directory, project.read, flags)
    if options.push and not config.tags:
        raise UsageError("--push needs a tag", hint="name one with -t, or in tags of [tool.dpbuild]")
    kind = app_stage.decide(project, config)
    platforms = config.platforms or (Platform("linux", world.host.architecture, world.host.variant).normalized(),)
    locked, bases = _lock_for_build(project, config, platforms, options, world)
    sinks = world.sinks(config, bases.blob, push=options.push, load=options.load, outputs=options.outputs)
    for sink in sinks:
        sink.check()
    app = _app(project, config, bases, platforms, kind, options, world)
    epoch = app_stage.file_time(project, options.epoch, world.reporter) if app.layers else 0
    made = [_image(project, config, bases, platform, locked, app, epoch, options, world) for platform in platforms]
    images = combine([image for image, _ in made])
    expected = options.expect_digest
    if expected and expected != str(images.descriptor.digest):
        raise DigestDrift(f"the image is {images.descriptor.digest}, expected was {expected}")
    written = tuple(sink.write(images) for sink in sinks)
    _summary(images, [layers for _, layers in made], written, world, started)
    return Built(images=images, written=written)


def _app(
    project: ProjectFolder,
    config: Config,
    bases: Bases,
    platforms: Sequence[Platform],
    kind: app_stage.Kind,
    options: BuildOptions,
    world: World,
) -> app_stage.App:
    """The app, its wheel built if it is one: once, with the interpreter of the first platform's base."""
    artifact = None
    if kind == "wheel":
        base = bases.get(platforms[0])
        text = project.read(app_wheel.NAME)
        goal = target(base.facts, base.platform)
        built = app_wheel.build_app(
            config,
            project.build_files(),
            base.facts,
            goal,
            None if text is None else lockfile.loads(text, app_wheel.NAME),
            backend=world.backend(base, bases.blob, options.builder),
            resolver=world.resolver,
            fetch=lambda lock: fetch_all(
                select(lock.packages, goal, where=app_wheel.NAME),
                project.directory,
                world.store,
                world.fetcher,
                world.reporter,
            ),
            store=world.store,
            reporter=world.reporter,
            locked=options.locked or options.frozen,
        )
        artifact = built.artifact
        if built.lock is not None:
            project.write(app_wheel.NAME, lockfile.dumps(built.lock))
    return app_stage.collect(project, config, artifact, kind)


def _image(
    project: ProjectFolder,
    config: Config,
    bases: Bases,
    platform: Platform,
    locked: Lock,
    app: app_stage.App,
    epoch: int,
    options: BuildOptions,
    world: World,
) -> tuple[Image, tuple[Layer, ...]]:
    base, store = bases.get(platform), world.store
    contents = LayerContents(base.tree, base.manifest.layers, store, bases.fetch)
    chosen = select(locked.packages, target(base.facts, platform), where=LOCK)
    artifacts = fetch_all(chosen, project.directory, store, world.fetcher, world.reporter)
    # One platform's interpreter compiles for all, so that pure layers are the same blobs for all.
    compiler = bases.compiler(bases.get(Platform.parse(locked.platforms[0]))) if config.bytecode else None
    replacing = replaced(base, [artifact.name for artifact in artifacts], lambda path: contents.get(path) or b"")
    site = Site(base, compiler, replacing)
    below = standard_library(site, store, contents, world.reporter)
    taken = len(base.manifest.layers) + len(below) + app.layers
    wheels = make_layers(artifacts, site, store, world.reporter, taken=taken)
    layers = (*below, *wheels.layers, *app_stage.make_layer(app, site, store, contents, epoch))
    own, mains, files = app_stage.starters(app, store)
    entrypoint = choose_entrypoint(config, base, app=app.kind, scripts=wheels.scripts | own, mains=mains, files=files)
    image = make_image(
        config,
        base,
        layers,
        app=app.kind,
        entrypoint=entrypoint,
        epoch=options.epoch or 0,
        bundle=bool(app.certificates),
    )
    return image, layers


def _lock_for_build(
    project: ProjectFolder, config: Config, platforms: Sequence[Platform], options: BuildOptions, world: World
) -> tuple[Lock, Bases]:
    """The lock that is there if it fits, else a new one."""
    text = project.read(LOCK)
    if text is None and (options.locked or options.frozen):
        raise LockStale("there is no lock", where=f"{project.directory}/{LOCK}", hint="run dpbuild lock")
    if options.locked or options.frozen:
        assert text is not None  # noqa: S101 - refused above
        found = lockfile.loads(text)
        reason = None if options.frozen else lock_stage.stale(found, config, platforms)
        if reason is not None:
            raise LockStale(f"the lock is stale: {reason}", where=LOCK, hint="run dpbuild lock")
        return found, Bases(world, config, found)
    previous = _previous(text, world)
    reason = "there is no lock" if previous is None else lock_stage.stale(previous, config, platforms)
    bases = Bases(world, config, previous)
    if reason is None and previous is not None:
        return previous, bases
    new = _make_lock(project, config, bases, previous, world, LockOptions())
    if previous is not None:
        world.reporter.note(f"the lock was renewed: {reason}")
        for line in lock_stage.changes(previous, new):
            world.reporter.note(f"  {line}")
    if not project.write(LOCK, lockfile.dumps(new)):
        world.reporter.note("the project is read-only, so the lock was not kept")
    return new, bases


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
            note=world.reporter.note,
        )
        step.done(f"{len(new.packages)} packages for {', '.join(new.platforms)}")
    return new


def _composition(source: ImageSource, platform: Platform) -> tuple[tuple[tuple[str, str, str], ...], str]:
    """What a composed base was made of, for the lock; nothing for any other."""
    if not isinstance(source, Composed):
        return (), ""
    row = next(each for each in source.composition if each.platform == platform)
    return row.packages, row.date


def _summary(
    images: Images, layers: Sequence[Sequence[Layer]], written: Sequence[Written], world: World, started: float
) -> None:
    for image, mine in zip(images.images, layers, strict=True):
        base = sum(row.size for row in image.manifest.layers[: image.base_layers])
        added = sum(row.descriptor.size for row in mine)
        kept = sum(1 for row in mine if row.kept)
        world.reporter.result(
            f"{image.platform}: {(base + added) / 1e6:.1f} MB, {added / 1e6:.1f} MB on top of the base's "
            f"{base / 1e6:.1f} MB; {len(mine)} layers, {kept} of them kept from before"
        )
    for row in written:
        names = f" as {', '.join(row.tags)}" if row.tags else ""
        verb = "sent" if row.kind == "registry" else "written"
        moved = f", {row.sent / 1e6:.1f} MB {verb}, {row.present / 1e6:.1f} MB were there"
        world.reporter.result(f"{row.kind}: {row.descriptor.digest}{names}{moved}")
    world.reporter.result(f"done in {world.clock() - started:.1f} s")
