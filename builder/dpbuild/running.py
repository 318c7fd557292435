"""``dpbuild run``: an image, its files, and whatever can run them. Beside the pipeline, which makes images."""

from collections.abc import Callable
from typing import BinaryIO

from dpbuild.errors import SandboxError, UsageError
from dpbuild.frozen import replace
from dpbuild.model.image import Image, Images
from dpbuild.oci.codec import encode_manifest
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import DaemonReference, Reference
from dpbuild.ports.runner import Runner, Start
from dpbuild.ports.sandbox import Job
from dpbuild.ports.world import World
from dpbuild.stages.base import fetch_layers
from dpbuild.stages.layers.compression import without_zstd
from dpbuild.stages.open_image import OpenImage, open_image


def run(reference: Reference, platform: Platform, start: Start, kind: str, world: World) -> int:
    """Run the image and give the program's exit status. Raises BaseImageError, SandboxError, UsageError.

    ``kind`` is ``auto``, ``docker``, ``podman``, ``bubblewrap`` or ``none``; ``auto`` takes an engine, else
    bubblewrap, else the image's own loader.
    """
    engine = _engine(kind, world, required=isinstance(reference, DaemonReference))
    if isinstance(reference, DaemonReference) and engine is not None:
        world.reporter.note(f"running in {engine.name}")
        return engine.run(reference.name, start)
    source = world.source(reference, (platform,))
    image = open_image(reference, source, platform, world.store)
    fetch_layers(source, image.manifest.layers, world.store, world.reporter)
    blob = _opener(world)
    if engine is not None:
        world.reporter.note(f"running in {engine.name}")
        if hidden := _hidden(image, start):
            world.reporter.note(f"nothing is published of port {hidden} of the image: -p {hidden} before REF does that")
        plain = without_zstd(image.manifest, image.config.diff_ids, world.store)
        return engine.load_and_run(_images(image, plain, platform, reference, source.manifest), blob, start)
    sandbox = world.sandbox(kind)
    for row in start.ports:
        if row.port != row.host:
            raise UsageError(
                f"port {row.host} cannot lead to port {row.port}: {sandbox.name} has the network of this machine",
                hint="an engine can do that, or the program's own setting of its port",
            )
    world.reporter.note(
        f"running in {sandbox.name}" if sandbox.isolates else f"running by {sandbox.name}, without isolation"
    )
    config = image.config
    outcome = sandbox.run(
        Job(
            rootfs=world.unpacked(image.manifest.layers, blob),
            argv=_argv(image, start.arguments),
            env=tuple((dict(config.environment) | dict(start.env)).items()),
            working_dir=config.working_dir or "/",
            user=config.user,
            network=True,
            capture=False,
        )
    )
    return outcome.status


def _engine(kind: str, world: World, *, required: bool) -> Runner | None:
    match kind:
        case "docker":
            return world.runner("docker", required=True)
        case "podman":
            return world.runner("podman", required=True)
        case "auto":
            return world.runner("auto", required=required)
        case _:
            return None


def _hidden(image: OpenImage, start: Start) -> str:
    """The first TCP port that the image exposes, if none is published."""
    exposed = [port for port, _, kind in (row.partition("/") for row in image.config.exposed_ports) if kind != "udp"]
    return exposed[0] if exposed and not start.ports else ""


def _argv(image: OpenImage, arguments: tuple[str, ...]) -> tuple[str, ...]:
    argv = (*image.config.entrypoint, *(arguments or image.config.cmd))
    if not argv:
        raise SandboxError(
            "the image has neither Entrypoint nor Cmd", hint="say what to run: dpbuild run REF -- PROGRAM"
        )
    return argv


def _opener(world: World) -> Callable[[Descriptor], BinaryIO]:
    def blob(descriptor: Descriptor) -> BinaryIO:
        return world.store.open(descriptor.digest)

    return blob


def _images(
    image: OpenImage, manifest: Manifest, platform: Platform, reference: Reference, read: Callable[[Descriptor], bytes]
) -> Images:
    """The image with ``manifest``, which names the same content, if it is not its own."""
    data = read(image.descriptor) if manifest == image.manifest else encode_manifest(manifest)
    descriptor = replace(image.descriptor, digest=Digest.of(data), size=len(data))
    one = Image(
        platform=platform,
        descriptor=descriptor,
        manifest=manifest,
        manifest_bytes=data,
        config_bytes=read(manifest.config),
        base=reference,
        base_layers=0,
    )
    return Images(descriptor=descriptor, images=(one,))
