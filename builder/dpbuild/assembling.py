"""One platform's image: Target -> Artifacts -> Layers -> Image, of the stages that ``pipeline`` puts in their order."""

from __future__ import annotations

from dpbuild.built import BuildOptions
from dpbuild.errors import LockStale
from dpbuild.frozen import frozen, replace
from dpbuild.model.artifact import Artifact
from dpbuild.model.base import Base
from dpbuild.model.config import Config
from dpbuild.model.evidence import Made
from dpbuild.model.layer import Layer
from dpbuild.model.lock import Lock, LockedFile, LockedPackage
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference
from dpbuild.ports.fetcher import Fetcher
from dpbuild.ports.project import ProjectFolder
from dpbuild.ports.sink import EagerSink
from dpbuild.ports.world import World
from dpbuild.stages import app as app_stage
from dpbuild.stages import lockfile
from dpbuild.stages.artifacts import fetching
from dpbuild.stages.aside import WORTH_LISTING, Aside
from dpbuild.stages.bases import Bases
from dpbuild.stages.chosen import choose
from dpbuild.stages.contents import LayerContents
from dpbuild.stages.evidence.attach import made_from
from dpbuild.stages.home import find_home
from dpbuild.stages.image import choose_entrypoint, make_image
from dpbuild.stages.inputs import moved
from dpbuild.stages.layers import compression
from dpbuild.stages.layers.bytecode import standard_library
from dpbuild.stages.layers.make import make_layers
from dpbuild.stages.layers.replaced import replaced
from dpbuild.stages.layers.site import Site
from dpbuild.stages.pending import PendingBuilds
from dpbuild.stages.proof.observing import Observing


@frozen
class Run:
    """What all platforms of a build have in common. ``eager`` are the destinations that take layers at once."""

    project: ProjectFolder
    config: Config
    options: BuildOptions
    world: World
    locked: Lock
    lock_text: str
    bases: Bases
    builds: PendingBuilds
    aside: Aside
    eager: tuple[EagerSink, ...]

    def ready(self, layer: Descriptor, base: Reference | None = None) -> None:
        """A layer of the image is there; ``base`` is named for one of the base's."""
        for sink in self.eager:
            sink.ahead(layer, base)


@frozen
class _Installed:
    """Layers of everything but the app; ``scripts`` are the names of those that wheels install."""

    layers: tuple[Layer, ...]
    scripts: frozenset[str]
    artifacts: tuple[Artifact, ...]
    site: Site


def assemble(run: Run, platform: Platform, app: app_stage.App, epoch: int) -> tuple[Made, tuple[Layer, ...]]:
    """The image, and the layers that are its own; ``epoch`` is the time of the app's files, in seconds.

    Raises LockStale, and what the stages raise.
    """
    config, store, base = run.config, run.world.store, run.bases.get(platform)
    contents = LayerContents(base.tree, base.manifest.layers, store, run.bases.fetch)
    if change := moved(run.locked, platform, base.facts.version):
        raise LockStale(
            f"the lock is for another Python than the base has: {change}",
            where=lockfile.NAME,
            hint="run dpbuild lock, or build on the base that it was made for",
        )
    chosen = choose(run.locked, run.lock_text, base, config.no_binary, store)
    for row in base.manifest.layers:
        run.ready(row, base.reference)
    installed = _install(run, base, chosen, contents, app.layers)
    home = find_home(config, base, contents, store) if app.layers else None
    own = app_stage.make_layer(app, installed.site, store, contents, epoch, home)
    for layer in own:
        if not layer.kept:
            run.ready(layer.descriptor)
    layers = (*installed.layers, *own)
    if config.compression == "zstd":
        layers = compression.recompress(layers, store, run.world.reporter)
    scripts, mains, files = app_stage.starters(app, store)
    image = make_image(
        config,
        base,
        layers,
        app=app.kind,
        entrypoint=choose_entrypoint(
            config, base, app=app.kind, scripts=installed.scripts | scripts, mains=mains, files=files
        ),
        epoch=run.options.epoch or 0,
        bundle=bool(app.certificates),
        variables=home.variables(base) if home else (),
    )
    artifacts = (*installed.artifacts, *([app.artifact] if app.artifact else []))
    return made_from(image, base, chosen, run.locked, artifacts), layers


def _install(
    run: Run, base: Base, chosen: tuple[tuple[LockedPackage, LockedFile], ...], contents: LayerContents, more: int
) -> _Installed:
    """Bytecode of the standard library, Debian packages, and wheels, which are downloaded and built meanwhile.

    ``more`` are the layers that come after these.
    """
    config, world, bases, store = run.config, run.world, run.bases, run.world.store

    def fetcher() -> Fetcher:
        return run.builds.now.reach.fetcher(base) if config.builder.resolve else world.fetcher

    with fetching(chosen, run.project.directory, store, fetcher, world.reporter) as arriving:
        artifacts = run.builds.wheels(base, arriving.artifacts)
        # One platform's interpreter compiles for all, so that pure layers are the same blobs for all.
        compiler = bases.compiler(bases.get(Platform.parse(run.locked.platforms[0]))) if config.bytecode else None
        replacing = replaced(base, [artifact.name for artifact in artifacts], lambda path: contents.get(path) or b"")
        # Proof and evidence ask for what is in the layers: told while these are made, unless they are compressed anew.
        observer = Observing if config.compression == "gzip" else None
        site = Site(base, compiler, replacing, observer=observer)
        below = standard_library(site, store, contents, world.reporter)
        taken = len(base.manifest.layers) + len(below) + more
        if runtime := run.locked.runtime_of(str(base.platform)):
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
            site, below = replace(site, base=debian.base, owners=debian.owners), (*below, *debian.layers)
            taken += len(debian.layers)
        # Layers go on their way as they are made; what makes them an image goes when all is proved.
        wheels = make_layers(
            artifacts,
            site,
            store,
            world.reporter,
            taken=taken,
            cores=world.cores,
            ready=run.ready,
            helper=run.aside.lend,
            wait=arriving.wait,
            making=run.aside.expect if sum(row.size for row in artifacts) >= WORTH_LISTING else lambda: None,
        )
    return _Installed(layers=(*below, *wheels.layers), scripts=wheels.scripts, artifacts=tuple(artifacts), site=site)
