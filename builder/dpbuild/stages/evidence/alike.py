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
# Where an SBOM names its subject: the version and the hash.
_PLACES: Final = 2


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
    """What ``again`` makes other documents of; None where this one cannot be taken apart."""
    hexed = image.descriptor.digest.hex.encode()
    start = document.rfind(_SERIAL)
    end = document.find(b",", start) + 1
    rest = document[:start] + document[end:]
    if start < 0 or document[start:end] != _said(rest) or document.count(hexed) != _PLACES:
        return None
    head = [start, hexed.decode(), [[number, top.hashes.get(number, "")] for number in sorted(asked)]]
    return json.dumps(head).encode() + b"\n" + rest


def again(packed: bytes, image: OpenImage, top: Inventory) -> bytes | None:
    """The SBOM of ``image``, whose uppermost layer's inventory is ``top``; None where that has to be made anew."""
    head, _, rest = packed.partition(b"\n")
    try:
        start, hexed, asked = json.loads(head)
        if any(top.hashes.get(number, "") != sha256 for number, sha256 in asked):
            return None
    except (ValueError, TypeError):
        return None
    rest = rest.replace(hexed.encode(), image.descriptor.digest.hex.encode())
    return rest[:start] + _said(rest) + rest[start:]


def _said(rest: bytes) -> bytes:
    return _SERIAL + serial(rest).encode() + b'",'
