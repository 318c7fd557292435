"""``dpbuild base compose``: a base made from Debian's packages, written where it was asked for."""

from collections.abc import Sequence

from dpbuild.model.image import Image, Images, Written
from dpbuild.oci.mediatype import INDEXES
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import ComposeReference, RegistryReference
from dpbuild.ports.world import World
from dpbuild.stages.base import fetch_layers
from dpbuild.stages.open_image import open_image


def compose(
    reference: ComposeReference,
    platforms: Sequence[Platform],
    tags: tuple[RegistryReference, ...],
    world: World,
    *,
    push: bool,
    outputs: tuple[str, ...],
) -> tuple[Written, ...]:
    """Compose it for these platforms, several under an index. Raises BaseImageError (20) and the sinks' errors."""
    sinks = world.sinks(tags, lambda layer: world.store.open(layer.digest), push=push, load=False, outputs=outputs)
    for sink in sinks:
        sink.check()
    source = world.source(reference, platforms)
    root, data = source.resolve()
    images = []
    for platform in platforms:
        found = open_image(reference, source, platform, world.store)
        fetch_layers(source, found.manifest.layers, world.store, world.reporter, "fetching the base")
        images.append(
            Image(
                platform=platform,
                descriptor=found.descriptor,
                manifest=found.manifest,
                manifest_bytes=source.manifest(found.descriptor),
                config_bytes=source.manifest(found.manifest.config),
                base=reference,
                base_layers=0,
            )
        )
    whole = Images(descriptor=root, images=tuple(images), index_bytes=data if root.media_type in INDEXES else b"")
    return tuple(sink.write(whole) for sink in sinks)
