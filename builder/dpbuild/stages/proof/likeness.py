"""When two images are alike to every rule: one line of the app was edited, and nothing that a rule asks about changed.

Rules look at names, modes, first lines, dynamic sections and what sources import and call; not at what else is in a
source. So an edit that changes none of these has the findings of the image before it.
"""

import ast
import csv
import hashlib
import json
from dataclasses import asdict, replace
from typing import Any, BinaryIO, Final

from dpbuild.archive.decompress import limit_of
from dpbuild.archive.entry import Entry
from dpbuild.archive.read import entries, open_layer
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.stages import syntax
from dpbuild.stages.proof import sources
from dpbuild.stages.proof.names import NONE, Names, names_of
from dpbuild.stages.proof.scan import FileScan, LayerScan

_LIBRARIES: Final = ("find_library", "load_library")
# Nodes of the syntax tree that not every Python knows.
_NEWER: Final = frozenset({"Match", "TryStar", "TypeAlias", "TypeVar", "ParamSpec", "TypeVarTuple", "TemplateStr"})
# A larger app is looked at anew: sizes begin to matter, and parsing it takes its time.
_LARGEST: Final = 16 << 20


def likeness(
    below: tuple[Descriptor, ...], config: ImageConfig, top: LayerScan, descriptor: Descriptor, blob: BinaryIO
) -> str | None:
    """A hash of everything that rules ask of an image with these layers and ``top`` above them; None: not tellable.

    ``blob`` is the top layer's, ``descriptor`` its own. Raises ReadError.
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
    told: list[Names] = []
    wanted: set[str] = set()
    for position, (entry, content) in enumerate(entries(tar)):
        source, names = _source(entry, content, wanted)
        rows.append([_shape(entry), _asked(top.files.get(position)), source])
        told.append(names)
    # Of the names in a source those matter that another one imports.
    for row, names in zip(rows, told, strict=True):
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


def _source(entry: Entry, content: BinaryIO | None, wanted: set[str]) -> tuple[Any, Names]:
    """What a source imports and does, without the lines, and its names; None for what is no source.

    What it imports by name is added to ``wanted``.
    """
    if content is None or not entry.size or entry.path.endswith((".pyc", ".so")):
        return None, NONE
    data = content.read()
    if not entry.path.endswith(".py") and not data.startswith(b"#!"):
        return None, NONE
    tree = sources.parse(data)
    if tree is None:
        return "no Python", NONE
    imports, newer = set(), set()
    for node, top, guarded in sources.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            told = [getattr(node, "module", None), getattr(node, "level", 0)]
            wanted |= {row.name for row in node.names}
            imports |= {json.dumps([*told, row.name, top, guarded]) for row in node.names}
        elif type(node).__name__ in _NEWER:
            newer.add(f"{type(node).__name__} {getattr(node, 'default_value', None) is not None}")
    uses = {json.dumps(asdict(replace(use, line=0))) for use in sources.uses(data)}
    told = [sorted(imports), sorted(uses), sorted(newer), syntax.compiles(data), b"__package__" in data]
    return told, names_of(tree)
