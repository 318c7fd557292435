"""Layers compressed with zstd: the same content as the ones that are joined from gzip, and so the same diffIDs.

What is joined from wheels can only be gzip, so every layer is made in that form first, and then compressed again.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from dpbuild.archive import zstd
from dpbuild.archive.decompress import Decompressed, ReadError, limit_of
from dpbuild.errors import BaseImageError, ConfigError, HashMismatch, StoreError
from dpbuild.frozen import replace
from dpbuild.model.config import Config
from dpbuild.model.layer import Layer
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.mediatype import OCI_LAYER, OCI_LAYER_ZSTD
from dpbuild.ports.reporter import Reporter, Step
from dpbuild.ports.store import Store
from dpbuild.stages.layers.kept import find, keep

_CHUNK = 1 << 20
_THREADS = 2


def check(config: Config, *, load: bool, outputs: Sequence[str]) -> None:
    """Whether what is asked for can be had with the configured compression. Raises ConfigError (10)."""
    if config.compression != "zstd":
        return
    if load or any(output.endswith(".tar") for output in outputs):
        what = "--load" if load else "a *.tar"
        raise ConfigError(
            f'compression = "zstd" does not go with {what}: not every engine loads such layers',
            where=config.directory,
            hint='write a folder or push it, or leave compression = "gzip"',
        )
    try:
        zstd.library()
    except zstd.ZstdUnusable as problem:
        raise ConfigError(
            f'compression = "zstd" cannot be had here: {problem}',
            where=config.directory,
            hint='run dpbuild with Python 3.11 to 3.13, or leave compression = "gzip"',
        ) from None


def recompress(layers: Sequence[Layer], store: Store, reporter: Reporter) -> tuple[Layer, ...]:
    """The layers with zstd, in their order; each is made once and kept. Raises StoreError."""
    keys = {layer: f"zstd {zstd.VERSION} {zstd.LEVEL} {layer.diff_id}" for layer in layers}
    found = {layer: find(store, key, layer.comment) for layer, key in keys.items()}
    missing = [layer for layer in layers if found[layer] is None]
    if missing:
        size = sum(layer.size for layer in missing)
        with reporter.step("compressing with zstd", size) as step, ThreadPoolExecutor(_THREADS) as pool:
            made = pool.map(lambda layer: _write(layer, keys[layer], store, step), missing)
            found.update(zip(missing, made, strict=True))
    return tuple(row for layer in layers if (row := found[layer]) is not None)


def _write(layer: Layer, key: str, store: Store, step: Step) -> Layer:
    with store.open(layer.descriptor.digest) as file, store.writer() as writer:
        plain = Decompressed(file, limit=layer.size)

        def chunks() -> Iterator[bytes]:
            while chunk := plain.read(_CHUNK):
                step.advance(len(chunk))
                yield chunk

        for chunk in zstd.compress(chunks()):
            writer.write(chunk)
        if plain.digest() != layer.diff_id.hex:
            raise StoreError("a layer in the store is not what it was made as", where=str(layer.descriptor.digest))
        digest, size = writer.commit()
    made = replace(layer, descriptor=Descriptor(media_type=OCI_LAYER_ZSTD, digest=digest, size=size), kept=False)
    keep(store, key, made)
    return made


def without_zstd(manifest: Manifest, diff_ids: Sequence[Digest], store: Store) -> Manifest:
    """The same content for engines that know no zstd: such layers uncompressed, in the store. Raises StoreError."""
    pairs = zip(manifest.layers, diff_ids, strict=True)
    rows = [_plain(row, diff_id, store) if row.media_type == OCI_LAYER_ZSTD else row for row, diff_id in pairs]
    return replace(manifest, layers=tuple(rows))


def _plain(layer: Descriptor, diff_id: Digest, store: Store) -> Descriptor:
    if not store.has(diff_id):
        with store.open(layer.digest) as file, store.writer() as writer:
            plain = Decompressed(file, limit=limit_of(layer.size))
            try:
                while chunk := plain.read(_CHUNK):
                    writer.write(chunk)
                writer.commit(diff_id)
            except (ReadError, HashMismatch) as problem:
                raise BaseImageError(f"a layer cannot be unpacked: {problem}", where=str(layer.digest)) from None
    return Descriptor(media_type=OCI_LAYER, digest=diff_id, size=store.size(diff_id))
