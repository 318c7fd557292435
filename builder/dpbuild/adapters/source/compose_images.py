"""What the store knows of images that were composed before."""

import json
from typing import Any, Final

from dpbuild.adapters.source.compose_layers import key_of
from dpbuild.frozen import frozen
from dpbuild.oci.codec import canonical
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import ComposeReference
from dpbuild.ports.store import Store

# The store's word for mappings that lead to bases.
KIND: Final = "bases"

# Name, version and sha256 of a .deb, as the lock has them.
Pin = tuple[str, str, str]


@frozen
class Composition:
    """What one platform's base was made of, for the lock. ``packages`` are in the order of their layers.

    ``date`` is that of the newest index that was asked (RFC 3339), "" where that is not known.
    """

    platform: Platform
    digest: Digest
    packages: tuple[Pin, ...]
    date: str


@frozen
class Composed:
    """An image that is in the store with everything it is made of; ``data`` is its manifest or index."""

    descriptor: Descriptor
    data: bytes
    compositions: tuple[Composition, ...]


class Images:
    """Finds and keeps composed images by digest, and which one was the last of its kind."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, digest: Digest) -> Composed | None:
        """The image of this digest, if all of it is here."""
        row = loaded(self._store.get(KIND, key_of("image", str(digest))))
        try:
            compositions = tuple(map(_composition, row["images"]))
            parts = [Digest.parse(text) for text in row["blobs"]]
            media_type = str(row["media_type"])
        except (KeyError, ValueError, TypeError):
            return None
        if not compositions or not all(map(self._store.has, (digest, *parts))):
            return None
        try:
            with self._store.open(digest) as file:
                data = file.read()
        except KeyError:
            return None
        descriptor = Descriptor(media_type=media_type, digest=digest, size=len(data))
        return Composed(descriptor=descriptor, data=data, compositions=compositions)

    def keep(self, root: Descriptor, compositions: tuple[Composition, ...]) -> None:
        """Remember an image whose blobs are in the store. Raises KeyError if a manifest is not."""
        blobs: set[str] = set()
        for row in compositions:
            with self._store.open(row.digest) as file:
                manifest = json.loads(file.read())
            blobs |= {str(row.digest), manifest["config"]["digest"]}
            blobs |= {layer["digest"] for layer in manifest["layers"]}
        value = {
            "media_type": root.media_type,
            "blobs": sorted(blobs),
            "images": [
                {
                    "platform": str(row.platform),
                    "digest": str(row.digest),
                    "packages": [list(pin) for pin in row.packages],
                    "date": row.date,
                }
                for row in compositions
            ],
        }
        self._store.put(KIND, key_of("image", str(root.digest)), canonical(value))

    def last(self, reference: ComposeReference, platforms: tuple[Platform, ...]) -> Digest | None:
        """The image that was composed last for these words."""
        row = loaded(self._store.get(KIND, _last_key(reference, platforms)))
        try:
            return Digest.parse(row["digest"])
        except (KeyError, ValueError, TypeError):
            return None

    def set_last(self, reference: ComposeReference, platforms: tuple[Platform, ...], digest: Digest) -> None:
        """Remember that this image is the last one."""
        self._store.put(KIND, _last_key(reference, platforms), canonical({"digest": str(digest)}))


def loaded(data: bytes | None) -> dict[str, Any]:
    """A mapping of ours; whatever else is there counts as nothing."""
    try:
        found = json.loads(data) if data is not None else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _composition(part: dict[str, Any]) -> Composition:
    return Composition(
        platform=Platform.parse(part["platform"]),
        digest=Digest.parse(part["digest"]),
        packages=tuple((str(name), str(version), str(sha)) for name, version, sha in part["packages"]),
        date=str(part["date"]),
    )


def _last_key(reference: ComposeReference, platforms: tuple[Platform, ...]) -> str:
    words = [reference.suite, reference.variant, *([reference.snapshot] if reference.snapshot else [])]
    return key_of("last", *words, [str(row) for row in platforms])
