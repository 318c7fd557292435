"""From a reference to one platform's manifest and config; what was read once is kept in the store by digest."""

from collections.abc import Callable
from typing import Final

from dpbuild.errors import BaseImageError
from dpbuild.frozen import frozen, replace
from dpbuild.oci import codec
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Index, Manifest
from dpbuild.oci.mediatype import INDEXES, LAYER_COMPRESSION, MANIFESTS
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference
from dpbuild.ports.source import ImageSource
from dpbuild.ports.store import Store

# Engines stop near 127 layers; an index in an index is seen, more is not.
_MOST_LAYERS: Final = 256
_DEEPEST: Final = 3
# BuildKit's mark on what describes an image instead of being one.
_REFERENCE_TYPE: Final = "vnd.docker.reference.type"
_LARGEST_DOCUMENT: Final = 16 << 20


@frozen
class OpenImage:
    """An image for one platform, its layers unread. ``root`` is what the reference named."""

    root: Descriptor
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig


def open_image(reference: Reference, source: ImageSource, platform: Platform, store: Store) -> OpenImage:
    """The image for ``platform``. Raises BaseImageError, and what the source raises."""
    where = str(reference)
    root, data = source.resolve()
    descriptor = root
    parsed = _decode(data, root, where)
    _keep(root, data, store)
    for _ in range(_DEEPEST):
        if not isinstance(parsed, Index):
            break
        descriptor = _pick(parsed, platform, where, lambda row: _platform_of(row, source, store, where))
        parsed = _decode(_document(descriptor, source, store, where), descriptor, where)
    if isinstance(parsed, Index):
        raise BaseImageError("the image is an index in an index in an index", where=where)
    config = _config(parsed, source, store, where)
    if not platform.matches(config.platform):
        raise BaseImageError(
            f"there is no image for {platform}, only for {config.platform}",
            where=where,
            hint=f"say --platform {config.platform}, or name another image",
        )
    _check(parsed, config, where)
    return OpenImage(root=root, descriptor=descriptor, manifest=parsed, config=config)


def platforms(reference: Reference, source: ImageSource, store: Store) -> tuple[Platform, ...]:
    """The platforms that the reference has an image for, in the index's order. Raises as ``open_image``."""
    where = str(reference)
    root, data = source.resolve()
    parsed = _decode(data, root, where)
    rows = _images(parsed) if isinstance(parsed, Index) else [root]
    found = (row.platform or _platform_of(row, source, store, where) for row in rows)
    return tuple(dict.fromkeys(row for row in found if row is not None))


def _decode(data: bytes, descriptor: Descriptor, where: str) -> Manifest | Index:
    try:
        return codec.decode(data, descriptor.media_type)
    except codec.CodecError as problem:
        raise BaseImageError(f"the manifest {descriptor.digest} cannot be read: {problem}", where=where) from None


def _document(descriptor: Descriptor, source: ImageSource, store: Store, where: str) -> bytes:
    """A manifest or config, from the store if it is there."""
    if descriptor.size > _LARGEST_DOCUMENT:
        raise BaseImageError(
            f"{descriptor.digest} has {descriptor.size} bytes, too many for a manifest or config", where=where
        )
    try:
        with store.open(descriptor.digest) as stream:
            return stream.read()
    except KeyError:
        data = source.manifest(descriptor)
    if Digest.of(data) != descriptor.digest:
        raise BaseImageError(
            f"what should be {descriptor.digest} is {Digest.of(data)}: it was damaged or changed", where=where
        )
    _keep(descriptor, data, store)
    return data


def _keep(descriptor: Descriptor, data: bytes, store: Store) -> None:
    """Put a document into the store, which tells by them which blobs are those of bases."""
    if not store.has(descriptor.digest):
        with store.writer() as writer:
            writer.write(data)
            writer.commit(descriptor.digest)


def _images(index: Index) -> list[Descriptor]:
    """The rows of an index that are images, or indexes again; no attestations, signatures or the like."""
    return [
        row
        for row in index.manifests
        if row.media_type in INDEXES | MANIFESTS
        and _REFERENCE_TYPE not in dict(row.annotations)
        and (row.platform is None or row.platform.os not in ("", "unknown"))
    ]


def _pick(index: Index, platform: Platform, where: str, ask: Callable[[Descriptor], Platform | None]) -> Descriptor:
    rows = _images(index)
    known = [row if row.platform else replace(row, platform=ask(row)) for row in rows]
    for row in known:
        if row.platform is not None and platform.matches(row.platform):
            return row
    there = ", ".join(dict.fromkeys(str(row.platform) for row in known if row.platform)) or "no platform at all"
    raise BaseImageError(
        f"there is no image for {platform}, only for {there}",
        where=where,
        hint="say one of them with --platform, or name another image",
    )


def _platform_of(row: Descriptor, source: ImageSource, store: Store, where: str) -> Platform | None:
    """What the config says where the index says nothing; None for a nested index, which may have several."""
    parsed = _decode(_document(row, source, store, where), row, where)
    if isinstance(parsed, Index):
        return None
    return _config(parsed, source, store, where).platform


def _config(manifest: Manifest, source: ImageSource, store: Store, where: str) -> ImageConfig:
    try:
        return codec.decode_config(_document(manifest.config, source, store, where))
    except codec.CodecError as problem:
        raise BaseImageError(
            f"the image config {manifest.config.digest} cannot be read: {problem}", where=where
        ) from None


def _check(manifest: Manifest, config: ImageConfig, where: str) -> None:
    if len(manifest.layers) != len(config.diff_ids):
        raise BaseImageError(
            f"the manifest has {len(manifest.layers)} layers, its config {len(config.diff_ids)}", where=where
        )
    if len(manifest.layers) > _MOST_LAYERS:
        raise BaseImageError(f"the image has {len(manifest.layers)} layers, more than engines take", where=where)
    for row in manifest.layers:
        if row.media_type not in LAYER_COMPRESSION:
            raise BaseImageError(f"layers of type {row.media_type} are not supported", where=where)
