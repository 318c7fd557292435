"""When two images are alike to every rule: one line of the app was edited, and nothing that a rule asks about changed.

Rules look at names, modes, first lines, dynamic sections and what sources import and call; not at what else is in a
source. So an edit that changes none of these has the findings of the image before it.
"""

import csv
import hashlib
import json
from typing import Any, BinaryIO, Final

from dpbuild.archive.decompress import limit_of
from dpbuild.archive.entry import Entry
from dpbuild.archive.read import entries, open_layer
from dpbuild.frozen import replace
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.stages.proof.scan import FileScan, LayerScan
from dpbuild.stages.proof.told import Sources, Told

_LIBRARIES: Final = ("find_library", "load_library")
# A larger app is looked at anew: sizes begin to matter, and parsing it takes its time.
_LARGEST: Final = 16 << 20


def likeness(
    below: tuple[Descriptor, ...],
    config: ImageConfig,
    top: LayerScan,
    descriptor: Descriptor,
    blob: BinaryIO,
    sources: Sources,
) -> str | None:
    """A hash of everything that rules ask of an image with these layers and ``top`` above them; None: not tellable.

    ``blob`` is the top layer's, ``descriptor`` its own; ``sources`` tells what is in its sources. Raises ReadError.
    """
    timed = any(row.pyc is not None and not row.pyc.flags for row in top.files.values())
    # Whether these change sys.path is asked of their text.
    editable = any(
        "__editable__" in entry.path or entry.path.endswith(("sitecustomize.py", "usercustomize.py"))
        for entry in top.entries
    )
    # Sources around libraries are followed statement by statement.
    native = any(row.elf is not None or any(use.kind in _LIBRARIES for use in row.uses) for row in top.files.values())
    if timed or editable or native or sum(entry.size for entry in top.entries) > _LARGEST:
        return None
    tar, _ = open_layer(blob, limit=limit_of(descriptor.size))
    rows: list[list[Any]] = []
    told: list[Told] = []
    for position, (entry, content) in enumerate(entries(tar)):
        told.append(_source(entry, content, sources))
        rows.append([_shape(entry), _asked(top.files.get(position)), told[-1].value])
    wanted = frozenset[str]().union(*(each.wants for each in told))
    # Of the names in a source those matter that another one imports.
    for row, each in zip(rows, told, strict=True):
        names = each.names
        row.append([sorted(names.bound & wanted), sorted(names.stored & wanted), names.known, names.sets])
    value = [
        [str(row.digest) for row in below],
        repr(replace(config, diff_ids=(), history=(), created="")),
        rows,
    ]
    return hashlib.sha256(json.dumps(value).encode("utf-8", "surrogatepass")).hexdigest()


def _shape(entry: Entry) -> list[Any]:
    return [entry.path, str(entry.kind), entry.mode, entry.uid, entry.gid, entry.target, entry.size == 0]


def _asked(scan: FileScan | None) -> str:
    if scan is None:
        return ""
    text = scan.text
    if text.count(",sha256="):
        # A RECORD: whose files these are, not what is in them.
        text = "\n".join(row[0] for row in csv.reader(text.splitlines()) if row)
    return repr(replace(scan, uses=(), text=text))


def _source(entry: Entry, content: BinaryIO | None, sources: Sources) -> Told:
    """What a source says; nothing for what is none."""
    if content is None or not entry.size or entry.path.endswith((".pyc", ".so")):
        return Told(value=None)
    data = content.read()
    if not entry.path.endswith(".py") and not data.startswith(b"#!"):
        return Told(value=None)
    return sources.ask(data)
