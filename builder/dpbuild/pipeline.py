"""The order of the stages: this is the only place that shows it; ``assembling`` has those from Target to Image.

config -> Base -> Target -> Lock -> Artifacts -> Layers -> Image -> Proof -> Evidence -> Sink
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import BinaryIO

from dpbuild.assembling import Run, assemble
from dpbuild.built import DEFAULT_OUTPUT, BuildOptions, Built, summary
from dpbuild.checking import proof, refuse
from dpbuild.describing import describe, describe_there, described
from dpbuild.errors import (
    ArtifactError,
    BaseImageError,
    DigestDrift,
    RegistryError,
    StoreError,
    UsageError,
)
from dpbuild.frozen import frozen, replace
from dpbuild.locked import lock_for_build
from dpbuild.model.config import Config
from dpbuild.model.evidence import Evidence, Made
from dpbuild.model.files import Committed
from dpbuild.model.image import Image
from dpbuild.oci.codec import decode_config
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform
from dpbuild.ports.project import ProjectFolder
from dpbuild.ports.sink import EagerSink
from dpbuild.ports.store import DamagedEntry
from dpbuild.ports.world import World
from dpbuild.stages import app as app_stage
from dpbuild.stages import config as config_stage
from dpbuild.stages.aside import WORTH_IT, Aside
from dpbuild.stages.bases import Bases
from dpbuild.stages.evidence.attach import attach, documents, inputs
from dpbuild.stages.image import check_starter, combine
from dpbuild.stages.layers import compression
from dpbuild.stages.open_image import OpenImage
from dpbuild.stages.pending import PendingBuilds
from dpbuild.stages.proof.scans import scan_there
from dpbuild.stages.proof.selection import Selection, chosen

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
    store = world.store if world.has_store else None
    config = config_stage.load(project.directory, project.read, flags, project.lacking, store)
    if options.push and not config.tags:
        raise UsageError("--push needs a tag", hint="name one with -t, or in tags of [tool.dpbuild]")
    compression.check(config, load=options.load, outputs=options.outputs)
    check_starter(config)
    kind = app_stage.decide(project, config)
    platforms = config.platforms or (Platform("linux", world.host.architecture, world.host.variant).normalized(),)
    outputs = options.outputs or (() if options.push or options.load else (f"{project.directory}/{DEFAULT_OUTPUT}",))

    def blob(layer: Descriptor) -> BinaryIO:
        return bases.blob(layer)

    # What cannot be written or signed shows before a base is fetched and a lock is kept.
    signer = world.signer(options.sign_key) if options.sign_key else None
    keyless = world.keyless(options.trust_config) if options.sign_keyless else None
    sinks = world.sinks(config.tags, blob, push=options.push, load=options.load, outputs=outputs)
    eager = tuple(sink for sink in sinks if isinstance(sink, EagerSink) and config.compression == "gzip")
    for early in eager:
        stack.callback(early.close)
    for sink in sinks:
        sink.check()

    aside = Aside(world.helper, world.cores)
    stack.callback(aside.close)
    scanned: list[Callable[[], None]] = []

    def fetched(layers: tuple[Descriptor, ...], diff_ids: tuple[Digest, ...]) -> None:
        # What the proof will want to know of the base is found out while the base is read and layers are made.
        if sum(layer.size for layer in layers) >= WORTH_IT:
            scanned.append(aside.begin(scan_there, (layers, diff_ids)))

    locked, text, bases, builds = lock_for_build(
        project,
        config,
        platforms,
        world,
        locked=options.locked,
        frozen=options.frozen,
        builder=options.builder,
        flags=flags,
        fetched=fetched,
    )
    apps = _apps(project, config, bases, platforms, kind, builds)
    app = apps[platforms[0]]
    asked = app.layers and (config.evidence or options.epoch is None)
    commit = app_stage.committed(project, app, world.store) if asked else Committed()
    said = options.epoch if options.file_time is None else options.file_time
    epoch, dated = app_stage.file_time(commit, said) if app.layers else (0, ())
    for note in dated:
        world.reporter.note(note)
    run = Run(
        project=project,
        config=config,
        options=options,
        world=world,
        locked=locked,
        lock_text=text,
        bases=bases,
        builds=builds,
        aside=aside,
        eager=eager,
    )
    made = [assemble(run, row, apps[row], epoch) for row in platforms]
    build_lock = builds.write(project)
    images = combine([row.image for row, _ in made], {bases.get(row).root.digest for row in platforms})
    for wait in scanned:
        wait()
    listed = [_listed(row, config, bases, world, aside) for row, _ in made] if config.evidence or options.sbom else []

    def attested() -> tuple[Evidence, ...]:
        builder = bases.get(platforms[0]) if app.artifact else None
        whole = replace(app, build_wheels=builds.wheels_used, build_lock=build_lock)
        told = inputs(config, whole, text, builder, commit.commit, epoch=options.epoch or 0, file_time=epoch)
        return documents(images, [row for row, _ in made], [row.sbom() for row in listed], told)

    evidence: tuple[Evidence, ...] = ()
    # What is at hand goes ahead of the proof, as layers do; nobody sees it before.
    early_enough = bool(listed) and all(row.known for row in listed)
    if early_enough:
        evidence = attested()
        images = attach(images, evidence, options.epoch or 0) if config.evidence else images
    for early in eager:
        early.ahead_of(images)
    warnings = tuple(each for row, _ in made for each in _prove(row.image, config, bases, world))
    if listed and not early_enough:
        evidence = attested()
        images = attach(images, evidence, options.epoch or 0) if config.evidence else images
    aside.dismiss()
    if signer is not None:
        from dpbuild.stages.evidence.sign import sign

        images = sign(images, evidence, [tag.name for tag in config.tags], signer, options.epoch or 0)
    if keyless is not None:
        from dpbuild.stages.evidence.keyless import sign_keyless

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


@frozen(kw_only=False)
class _Listed:
    """What gives an SBOM when it is asked for; ``known`` says whether it is at hand."""

    sbom: Callable[[], bytes]
    known: bool


def _listed(made: Made, settings: Config, bases: Bases, world: World, aside: Aside) -> _Listed:
    """The SBOM, or what makes it; if that takes time, it is begun now, aside."""
    image, config, facts = made.image, decode_config(made.image.config_bytes), made.base.facts
    opened = OpenImage(root=image.descriptor, descriptor=image.descriptor, manifest=image.manifest, config=config)
    begun = None
    # Layers that are compressed anew are read by the proof first; two that read them would do the same.
    if settings.compression == "gzip":
        if (found := described(opened, image.platform, world.store, bases.fetch, facts)) is not None:
            return _Listed(lambda: found, known=True)
        # Starting a process for this alone takes as long.
        if aside.started:
            begun = aside.begin(describe_there, (opened, image.platform, facts))

    def sbom() -> bytes:
        with world.reporter.step("listing what is in the image"):
            if begun is not None:
                begun()
            return describe(opened, image.platform, world.store, bases.fetch, facts)

    return _Listed(sbom, known=False)
