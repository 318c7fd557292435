"""The SBOM of an image whose uppermost layer differs from an earlier one's only in files that no package speaks of.

One line of an app that was edited makes another manifest, and so another SBOM, in which only the image's own digest is
new. Which files of the layer the first document was made from is kept with it; the names of all are in the key.
"""

import hashlib
import json
from typing import Final

from dpbuild.archive.overlay import FileTree
from dpbuild.model.facts import Facts
from dpbuild.oci.platform import Platform
from dpbuild.stages.evidence.sbom import FORMAT, serial
from dpbuild.stages.inventory import Inventory, InventoryContents
from dpbuild.stages.open_image import OpenImage
from dpbuild.stages.proof.scan import LayerScan

_SERIAL: Final = b'"serialNumber":"'
# Characters of a serial number, with the quote and the comma behind it.
_UUID: Final = len('urn:uuid:00000000-0000-8000-8000-000000000000",')


class Noting(InventoryContents):
    """The contents of an image; ``asked`` are the numbers of the uppermost layer's entries that were asked for."""

    def __init__(self, tree: FileTree, found: tuple[Inventory, ...]) -> None:
        super().__init__(tree, found)
        self._top = len(found) - 1
        self.asked: set[int] = set()

    def _origin(self, path: str) -> tuple[int, int]:
        layer, number = super()._origin(path)
        if layer == self._top:
            self.asked.add(number)
        return layer, number


def key(image: OpenImage, platform: Platform, facts: Facts, top: LayerScan, version: str) -> str:
    """What all images share whose SBOMs can differ by files of the uppermost layer alone; ``top`` is that layer's."""
    value = [
        FORMAT,
        version,
        str(platform),
        image.descriptor.media_type,
        image.config.created,
        [str(row.digest) for row in image.manifest.layers[:-1]],
        # What markers are evaluated with.
        [facts.interpreter_sha256, facts.implementation, facts.version, facts.machine, str(facts.libc)],
        [[entry.path, str(entry.kind), entry.target] for entry in top.entries],
    ]
    text = json.dumps(value).encode("utf-8", "surrogatepass")
    return f"sbom-alike-{hashlib.sha256(text).hexdigest()}"


def pack(document: bytes, image: OpenImage, asked: set[int], top: Inventory) -> bytes | None:
    """What ``again`` makes other documents of, beside this one; None where this one cannot be taken apart."""
    hexed = image.descriptor.digest.hex.encode()
    ends = [document.find(hexed), 0, document.rfind(_SERIAL)]
    ends[1] = document.find(hexed, ends[0] + 1)
    if ends[0] < 0 or not ends[0] < ends[1] < ends[2] or document.find(hexed, ends[1] + 1) >= 0:
        return None
    if b"".join(_made(document, ends, hexed)) != document:
        return None
    return json.dumps([ends, [[number, top.hashes.get(number, "")] for number in sorted(asked)]]).encode()


def is_alike(packed: bytes, top: Inventory) -> bool:
    """Whether an image whose uppermost layer's inventory is ``top`` has such an SBOM."""
    try:
        _, asked = json.loads(packed)
        return all(top.hashes.get(number, "") == sha256 for number, sha256 in asked)
    except (ValueError, TypeError):
        return False


def again(packed: bytes, document: bytes, image: OpenImage) -> bytes:
    """The SBOM of ``image``, made of the one that was packed."""
    return b"".join(_made(document, json.loads(packed)[0], image.descriptor.digest.hex.encode()))


def _made(document: bytes, ends: list[int], hexed: bytes) -> list[bytes | memoryview]:
    """The pieces of a document whose subject has another digest: megabytes, of which nothing is copied on the way.

    ``ends`` are where the digest stands twice, and then the serial number.
    """
    whole, (first, second, number) = memoryview(document), ends
    after = number + len(_SERIAL) + _UUID
    before: list[bytes | memoryview] = [
        whole[:first], hexed, whole[first + len(hexed) : second], hexed, whole[second + len(hexed) : number]
    ]  # fmt: skip
    return [*before, _SERIAL, serial(*before, whole[after:]).encode(), b'",', whole[after:]]
