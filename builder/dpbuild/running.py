"""``dpbuild run``: an image, its files, and whatever can run them. Beside the pipeline, which makes images."""

from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from dpbuild.errors import SandboxError
from dpbuild.model.image import Image, Images
from dpbuild.oci.codec import encode_manifest
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import DaemonReference, Reference
from dpbuild.ports.runner import Runner
from dpbuild.ports.sandbox import Job
from dpbuild.ports.world import World
from dpbuild.stages.base import fetch_layers
from dpbuild.stages.layers.compression import without_zstd
from dpbuild.stages.open_image import OpenImage, open_image


def run(reference: Reference, platform: Platform, arguments: tuple[str, ...], kind: str, world: World) -> int:
    """Run the image and give the program's exit status. Raises BaseImageError, SandboxError.

    ``kind`` is ``auto``, ``docker``, ``podman``, ``bubblewrap`` or ``none``; ``auto`` takes an engine, else
    bubblewrap, else the image's own loader.
    """
    engine = _engine(kind, world, required=isinstance(reference, DaemonReference))
    if isinstance(reference, DaemonReference) and engine is not None:
        world.reporter.note(f"running in {engine.name}")
        return engine.run(reference.name, arguments)
    source = world.source(reference, (platform,))
    image = open_image(reference, source, platform, world.store)
    fetch_layers(source, image.manifest.layers, world.store, world.reporter)
    blob = _opener(world)
    if engine is not None:
        world.reporter.note(f"running in {engine.name}")
        plain = without_zstd(image.manifest, image.config.diff_ids, world.store)
        return engine.load_and_run(_images(image, plain, platform, reference, source.manifest), blob, arguments)
    sandbox = world.sandbox(kind)
    world.reporter.note(
        f"running in {sandbox.name}" if sandbox.isolates else f"running by {sandbox.name}, without isolation"
    )
    config = image.config
    outcome = sandbox.run(
        Job(
            rootfs=world.unpacked(image.manifest.layers, blob),
            argv=_argv(image, arguments),
            env=config.environment,
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
