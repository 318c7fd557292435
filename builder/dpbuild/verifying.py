"""``dpbuild verify``: an image, what is attached to it, and a key or an identity."""

from dpbuild.errors import BaseImageError
from dpbuild.oci.codec import CodecError, decode
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.manifest import Index
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference
from dpbuild.ports.signer import IdentityVerifier, Verifier
from dpbuild.ports.world import World
from dpbuild.stages.evidence.found import attached
from dpbuild.stages.evidence.verify import Vouched, verify


def verify_image(
    reference: Reference, platforms: tuple[Platform, ...], verifier: Verifier | IdentityVerifier, world: World
) -> tuple[Descriptor, tuple[Vouched, ...]]:
    """What the reference names, and what is vouched for: that, and every image of an index.

    ``platforms`` narrows an index to these. Raises FindingsError (70), BaseImageError, and what the source raises.
    """
    source = world.source(reference, (world.host,))
    where = str(reference)
    root, data = source.resolve()
    try:
        value = decode(data, root.media_type)
    except CodecError as problem:
        raise BaseImageError(f"the manifest {root.digest} cannot be read: {problem}", where=where) from None
    subjects = [root]
    if isinstance(value, Index):
        rows = [row for row in value.manifests if row.platform is not None and row.platform.os != "unknown"]
        chosen = [
            row
            for row in rows
            if not platforms or any(each.matches(row.platform) for each in platforms if row.platform)
        ]
        if not chosen:
            there = ", ".join(str(row.platform) for row in rows) or "no platform at all"
            raise BaseImageError(
                f"there is no image for {', '.join(map(str, platforms))}, only for {there}", where=where
            )
        subjects += chosen
    return root, tuple(verify(attached(source, row.digest, where), row.digest, verifier, where) for row in subjects)
