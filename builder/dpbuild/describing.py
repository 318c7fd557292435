"""``dpbuild sbom``, and the SBOMs of every build: from an image's layers to what is in it."""

import contextlib
from collections.abc import Callable
from typing import Final

from dpbuild import __version__
from dpbuild.errors import BaseImageError, TargetError
from dpbuild.model.facts import Facts
from dpbuild.model.image import DOCUMENTS
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference
from dpbuild.ports.store import Store
from dpbuild.ports.world import World
from dpbuild.stages.base import fetcher
from dpbuild.stages.contents import LayerContents
from dpbuild.stages.evidence.alike import Noting, again, is_alike, pack
from dpbuild.stages.evidence.alike import key as key_of
from dpbuild.stages.evidence.sbom import FORMAT, sbom
from dpbuild.stages.inventory import inventories
from dpbuild.stages.open_image import OpenImage, open_image
from dpbuild.stages.proof.scans import merged, scan_layers

_KIND: Final = "facts"


def read_sbom(reference: Reference, platform: Platform, world: World) -> bytes:
    """The SBOM of one platform's image, whoever made it. Raises BaseImageError and what the source raises."""
    source = world.source(reference, (platform,))
    image = open_image(reference, source, platform, world.store)
    return describe(image, platform, world.store, fetcher(source, world.store, world.reporter))


def described(
    image: OpenImage,
    platform: Platform,
    store: Store,
    fetch: Callable[[Descriptor], object],
    facts: Facts | None = None,
) -> bytes | None:
    """The SBOM as ``describe`` gives it, if it has been made before, or one of which it is known how it differs."""
    return _recall(image, platform, store, fetch, facts)[0]


def describe_there(
    store: Store, argument: tuple[OpenImage, Platform, Facts], progress: Callable[[int], object]
) -> None:
    """For a helper: leave the SBOM in the store, which has all layers. Raises BaseImageError."""
    image, platform, facts = argument
    progress(len(describe(image, platform, store, lambda layer: None, facts)))


def _key(image: OpenImage, platform: Platform) -> str:
    return f"sbom-{image.descriptor.digest.hex}-{platform}-{FORMAT}-{__version__}"


def _recall(
    image: OpenImage,
    platform: Platform,
    store: Store,
    fetch: Callable[[Descriptor], object],
    facts: Facts | None,
) -> tuple[bytes | None, str]:
    """The SBOM, and where it has to be made the key of all images whose uppermost layers say the same of packages;
    "" where that cannot be told.
    """
    kept = store.get(_KIND, _key(image, platform))
    document = store.get(DOCUMENTS, kept.decode("ascii", "replace")) if kept is not None else None
    layers = image.manifest.layers
    if document is not None or facts is None or not layers:
        return document, ""
    top = scan_layers(layers[-1:], image.config.diff_ids[-1:], store, fetch)[0]
    alike = key_of(image, platform, facts, top, __version__)
    name, _, packed = (store.get(_KIND, alike) or b"").partition(b" ")
    if packed and is_alike(packed, inventories(layers[-1:], store, fetch)[0]):
        document = store.get(DOCUMENTS, name.decode("ascii", "replace"))
    return again(packed, document, image) if document is not None else None, alike


def describe(
    image: OpenImage,
    platform: Platform,
    store: Store,
    fetch: Callable[[Descriptor], object],
    facts: Facts | None = None,
) -> bytes:
    """The SBOM, made once for each manifest, and once for all whose uppermost layers say the same of packages.

    ``fetch`` brings a layer into the store that is not there; ``facts`` are the image's where they are known.
    """
    found, alike = _recall(image, platform, store, fetch, facts)
    if found is not None:
        return found
    layers = image.manifest.layers
    _, tree = merged(layers, image.config.diff_ids, store, fetch)
    if facts is None:
        with contextlib.suppress(BaseImageError):
            from dpbuild.stages.facts import read_facts

            # An image without a Python that is understood still has packages.
            files = LayerContents(tree, layers, store, fetch)
            facts = read_facts(tree, files, image.config, platform, image.manifest.annotations)
    environment = None
    if facts is not None:
        with contextlib.suppress(TargetError):
            from dpbuild.stages.target import target

            environment = target(facts, platform).markers
    taken = inventories(layers, store, fetch)
    contents = Noting(tree, taken)
    made = sbom(image.descriptor, platform, image.config, tree, contents, environment)
    name = Digest.of(made).hex
    store.put(DOCUMENTS, name, made)
    store.put(_KIND, _key(image, platform), name.encode())
    if alike and (packed := pack(made, image, contents.asked, taken[-1])) is not None:
        store.put(_KIND, alike, b"%s %s" % (name.encode(), packed))
    return made
