"""The order of the stages: this is the only place that shows it.

config -> Base -> Target -> Lock -> Artifacts -> Layers -> Image -> Proof -> Evidence -> Sink
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import BinaryIO

from dpbuild.built import DEFAULT_OUTPUT, BuildOptions, Built, summary
from dpbuild.checking import proof, refuse
from dpbuild.describing import describe
from dpbuild.errors import (
    ArtifactError,
    BaseImageError,
    DigestDrift,
    LockStale,
    RegistryError,
    StoreError,
    UsageError,
)
from dpbuild.locked import lock_for_build
from dpbuild.model.config import Config
from dpbuild.model.evidence import Evidence, Made
from dpbuild.model.files import Committed
from dpbuild.model.image import Image
from dpbuild.model.layer import Layer
from dpbuild.model.lock import Lock
from dpbuild.oci.codec import decode_config
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.platform import Platform
from dpbuild.ports.project import ProjectFolder
from dpbuild.ports.sink import EagerSink
from dpbuild.ports.store import DamagedEntry
from dpbuild.ports.world import World
from dpbuild.stages import app as app_stage
from dpbuild.stages import config as config_stage
from dpbuild.stages import lockfile
from dpbuild.stages.artifacts import fetching
from dpbuild.stages.bases import Bases
from dpbuild.stages.contents import LayerContents
from dpbuild.stages.evidence.attach import attach, documents, inputs, made_from
from dpbuild.stages.evidence.keyless import sign_keyless
from dpbuild.stages.evidence.sign import sign
from dpbuild.stages.home import find_home
from dpbuild.stages.image import choose_entrypoint, combine, make_image
from dpbuild.stages.inputs import moved
from dpbuild.stages.layers import compression
from dpbuild.stages.layers.bytecode import standard_library
from dpbuild.stages.layers.make import make_layers
from dpbuild.stages.layers.replaced import replaced
from dpbuild.stages.layers.site import Site
from dpbuild.stages.open_image import OpenImage
from dpbuild.stages.pending import PendingBuilds
from dpbuild.stages.proof.observing import Observing
from dpbuild.stages.proof.selection import Selection, chosen
from dpbuild.stages.select import ANY, select
from dpbuild.stages.target import target

# How often a build begins again because of damaged entries; each time there is one less.
_DAMAGED = 20


def build(project: ProjectFolder, flags: Mapping[str, object], options: BuildOptions, world: World) -> Built:
    """Make the image and write it everywhere it was asked for.

    An entry of the store that turns out to be damaged is discarded where it is found, and the build begins
    again without it; what is not damaged is found again. Raises StoreError where it cannot be had any more.
    """
    damaged = ""
    for _ in range(_DAMAGED):
        try:
            with ExitStack() as stack:
                return _build(project, flags, options, world, stack)
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


def _build(
    project: ProjectFolder, flags: Mapping[str, object], options: BuildOptions, world: World, stack: ExitStack
) -> Built:
    started = world.clock()
    config = config_stage.load(project.directory, project.read, flags, project.lacking)
    if options.push and not config.tags:
        raise UsageError("--push needs a tag", hint="name one with -t, or in tags of [tool.dpbuild]")
    compression.check(config, load=options.load, outputs=options.outputs)
    kind = app_stage.decide(project, config)
    platforms = config.platforms or (Platform("linux", world.host.architecture, world.host.variant).normalized(),)
    outputs = options.outputs or (() if options.push or options.load else (f"{project.directory}/{DEFAULT_OUTPUT}",))

    def blob(layer: Descriptor) -> BinaryIO:
        return bases.blob(layer)

    # What cannot be written or signed shows before a base is fetched and a lock is kept.
    signer = world.signer(options.sign_key) if options.sign_key else None
    keyless = world.keyless(options.trust_config) if options.sign_keyless else None
    sinks = world.sinks(config.tags, blob, push=options.push, load=options.load, outputs=outputs)
    eager = [sink for sink in sinks if isinstance(sink, EagerSink) and config.compression == "gzip"]
    for early in eager:
        stack.callback(early.close)
    for sink in sinks:
        sink.check()

    def ready(layer: Descriptor) -> None:
        for early in eager:
            early.ahead(layer)

    locked, text, bases, builds = lock_for_build(
        project,
        config,
        platforms,
        world,
        locked=options.locked,
        frozen=options.frozen,
        builder=options.builder,
        flags=flags,
    )
    apps = _apps(project, config, bases, platforms, kind, builds)
    app = apps[platforms[0]]
    asked = app.layers and (config.evidence or options.epoch is None)
    commit = app_stage.committed(project, app, world.store) if asked else Committed()
    said = options.epoch if options.file_time is None else options.file_time
    epoch, dated = app_stage.file_time(commit, said) if app.layers else (0, ())
    for note in dated:
        world.reporter.note(note)
    made = [
        _image(project, config, bases, row, locked, apps[row], builds, epoch, options, world, ready)
        for row in platforms
    ]
    build_lock = builds.write(project)
    images = combine([row.image for row, _ in made], {bases.get(row).root.digest for row in platforms})
    warnings = tuple(each for row, _ in made for each in _prove(row.image, config, bases, world))
    evidence: tuple[Evidence, ...] = ()
    if config.evidence or options.sbom:
        builder = bases.get(platforms[0]) if app.artifact else None
        app = replace(app, build_wheels=builds.wheels_used, build_lock=build_lock)
        told = inputs(config, app, text, builder, commit.commit, epoch=options.epoch or 0, file_time=epoch)
        rows = [row for row, _ in made]
        evidence = documents(images, rows, [_sbom(row, bases, world) for row in rows], told)
        images = attach(images, evidence, options.epoch or 0) if config.evidence else images
    if signer is not None:
        images = sign(images, evidence, [tag.name for tag in config.tags], signer, options.epoch or 0)
    if keyless is not None:
        with world.reporter.step("signing by Sigstore"):
            images = sign_keyless(images, evidence, keyless, options.epoch or 0)
    expected = options.expect_digest
    if expected and expected != str(images.descriptor.digest):
        raise DigestDrift(f"the image is {images.descriptor.digest}, expected was {expected}")
    written = tuple(sink.write(images) for sink in sinks)
    if outputs and not options.outputs:
        project.shelter()
    kept = [sum(1 for row in layers if row.kept) for _, layers in made]
    summary(images, kept, written, world.reporter, world.clock() - started)
    return Built(images=images, written=written, evidence=evidence, tags=config.tags, warnings=warnings, notes=dated)


def _apps(
    project: ProjectFolder,
    config: Config,
    bases: Bases,
    platforms: Sequence[Platform],
    kind: app_stage.Kind,
    builds: PendingBuilds,
) -> dict[Platform, app_stage.App]:
    """The app for each platform, its wheel built if it is one: once with the first platform's interpreter, or for
    each platform where something has to be compiled.
    """
    if kind != "wheel":
        return dict.fromkeys(platforms, app_stage.collect(project, config, None, kind))
    files = project.build_files()
    building = platforms if builds.now.compiles(files) else platforms[:1]
    made = {}
    for platform in building:
        artifact = builds.now.app(bases.get(platform), files)
        made[platform] = replace(app_stage.collect(project, config, artifact, kind), sources=files)
    return {platform: made.get(platform, made[platforms[0]]) for platform in platforms}


def _image(
    project: ProjectFolder,
    config: Config,
    bases: Bases,
    platform: Platform,
    locked: Lock,
    app: app_stage.App,
    builds: PendingBuilds,
    epoch: int,
    options: BuildOptions,
    world: World,
    ready: Callable[[Descriptor], None],
) -> tuple[Made, tuple[Layer, ...]]:
    base, store = bases.get(platform), world.store
    contents = LayerContents(base.tree, base.manifest.layers, store, bases.fetch)
    if change := moved(locked, platform, base.facts.version):
        raise LockStale(
            f"the lock is for another Python than the base has: {change}",
            where=lockfile.NAME,
            hint="run dpbuild lock, or build on the base that it was made for",
        )
    goal = target(base.facts, platform)
    chosen = select(locked.packages, goal, allow_sdist=ANY, no_binary=config.no_binary, where=lockfile.NAME)
    fetcher = builds.now.reach.fetcher(base) if config.builder.resolve else world.fetcher
    with fetching(chosen, project.directory, store, fetcher, world.reporter) as arriving:
        artifacts = builds.wheels(base, arriving.artifacts)
        # One platform's interpreter compiles for all, so that pure layers are the same blobs for all.
        compiler = bases.compiler(bases.get(Platform.parse(locked.platforms[0]))) if config.bytecode else None
        replacing = replaced(base, [artifact.name for artifact in artifacts], lambda path: contents.get(path) or b"")
        # Proof and evidence ask for what is in the layers: told while these are made, unless they are compressed anew.
        observer = Observing if config.compression == "gzip" else None
        plain = Site(base, compiler, replacing, observer=observer)
        below = standard_library(plain, store, contents, world.reporter)
        taken = len(base.manifest.layers) + len(below) + app.layers
        site = plain
        if runtime := locked.runtime_of(str(platform)):
            from dpbuild.stages.layers.debian import debian_layers

            debian = debian_layers(
                runtime,
                base,
                contents,
                lambda: world.debian_packages(config, base),
                store,
                world.reporter,
                taken=taken,
            )
            site, below = replace(plain, base=debian.base, owners=debian.owners), (*below, *debian.layers)
            taken += len(debian.layers)
        # Layers go on their way as they are made; what makes them an image goes when all is proved.
        wheels = make_layers(
            artifacts,
            site,
            store,
            world.reporter,
            taken=taken,
            cores=world.cores,
            ready=ready,
            helper=world.helper,
            wait=arriving.wait,
        )
    home = find_home(config, base, contents, store) if app.layers else None
    last = app_stage.make_layer(app, site, store, contents, epoch, home)
    layers = (*below, *wheels.layers, *last)
    if config.compression == "zstd":
        layers = compression.recompress(layers, store, world.reporter)
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
        variables=home.variables(base) if home else (),
    )
    return made_from(image, base, chosen, locked, (*artifacts, *([app.artifact] if app.artifact else []))), layers


def _prove(image: Image, config: Config, bases: Bases, world: World) -> tuple[str, ...]:
    """Refuse an image that cannot work, before anybody can see it; the warnings. Raises FindingsError."""
    with world.reporter.step("checking the image"):
        findings = proof(
            image.manifest.layers,
            image.manifest.config,
            decode_config(image.config_bytes),
            image.platform,
            bases.get(image.platform).facts,
            world.store,
            bases.fetch,
            lambda facts: world.libraries(facts, config),
        )
    selection = Selection(select=config.check_select, ignore=config.check_ignore)
    warnings = refuse(chosen(findings, selection), image.platform)
    for row in warnings:
        world.reporter.warning(row)
    return warnings


def _sbom(made: Made, bases: Bases, world: World) -> bytes:
    image, config = made.image, decode_config(made.image.config_bytes)
    opened = OpenImage(root=image.descriptor, descriptor=image.descriptor, manifest=image.manifest, config=config)
    with world.reporter.step("listing what is in the image"):
        return describe(opened, image.platform, world.store, bases.fetch, made.base.facts)
