"""Layers of entries that are at hand, in the order in which they come."""

import hashlib
from collections.abc import Iterable, Iterator

from dpbuild.archive import gzip
from dpbuild.debian import files
from dpbuild.model.layer import Layer
from dpbuild.oci import mediatype
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import Store


def write_items(store: Store, items: Iterable[files.Item], comment: str) -> Layer:
    """A layer in the form of distroless' own, in the store. Raises StoreError."""
    plain = hashlib.sha256()
    unpacked = 0

    def counted() -> Iterator[bytes]:
        nonlocal unpacked
        for chunk in files.archive(items):
            plain.update(chunk)
            unpacked += len(chunk)
            yield chunk

    with store.writer() as blob:
        for chunk in gzip.compress(counted()):
            blob.write(chunk)
        digest, size = blob.commit()
    return Layer(
        descriptor=Descriptor(media_type=mediatype.OCI_LAYER_GZIP, digest=digest, size=size),
        diff_id=Digest(plain.hexdigest()),
        comment=comment,
        size=unpacked,
    )
