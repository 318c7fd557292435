"""``dpbuild diff``: two images, read and compared."""

from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference
from dpbuild.ports.source import ImageSource
from dpbuild.ports.world import World
from dpbuild.stages import facts_packages
from dpbuild.stages.base import fetcher
from dpbuild.stages.compare import Comparison, Snapshot, compare
from dpbuild.stages.inventory import InventoryContents, inventories
from dpbuild.stages.open_image import OpenImage, open_image
from dpbuild.stages.proof.owners import Owners, distributions
from dpbuild.stages.proof.scans import file_scan, scan_layers, tree_of


def diff(a: Reference, b: Reference, platform: Platform, world: World) -> tuple[OpenImage, OpenImage, Comparison]:
    """What differs between two images for one platform. Raises BaseImageError and what the sources raise."""
    one, other = (_open(reference, platform, world) for reference in (a, b))
    if one[0].descriptor.digest == other[0].descriptor.digest:
        return one[0], other[0], Comparison(same=True, common_layers=len(one[0].manifest.layers))
    return one[0], other[0], compare(_snapshot(*one, world), _snapshot(*other, world))


def _open(reference: Reference, platform: Platform, world: World) -> tuple[OpenImage, ImageSource]:
    source = world.source(reference, (platform,))
    return open_image(reference, source, platform, world.store), source


def _snapshot(image: OpenImage, source: ImageSource, world: World) -> Snapshot:
    layers = image.manifest.layers
    fetch = fetcher(source, world.store, world.reporter)
    scans = scan_layers(layers, image.config.diff_ids, world.store, fetch)
    tree = tree_of(scans)
    contents = InventoryContents(tree, inventories(layers, world.store, fetch))
    owners = Owners(tree, contents, lambda path: file_scan(tree, scans, path).text)
    packages = {("python", row.name): row.version for row in distributions(tree)}
    packages |= {("system", row.name): row.version for row in facts_packages.packages(tree, contents)[0]}

    def owner(path: str) -> str:
        name = owners.of(path).partition(" ")[0]
        kind = next((kind for kind in ("python", "system") if (kind, name) in packages), "")
        return f"{kind}:{name}" if name and kind else ""

    return Snapshot(
        descriptor=image.descriptor,
        manifest=image.manifest,
        config=image.config,
        tree=tree,
        packages=packages,
        owner=owner,
        sha256=contents.sha256,
        elf=lambda path: file_scan(tree, scans, path).elf,
    )
