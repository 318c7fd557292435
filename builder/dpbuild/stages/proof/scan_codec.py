"""Scans as bytes for the store: columns of JSON, compressed, since a layer may have tens of thousands of entries."""

import json
import zlib
from typing import Any, Final

from dpbuild.archive.columns import pack, unpack
from dpbuild.elf.facts import ElfFacts, Versions
from dpbuild.frozen import asdict
from dpbuild.stages.proof.scan import FileScan, LayerScan, Pyc
from dpbuild.stages.proof.sources import Use

_LARGEST: Final = 1 << 30


def encode(scan: LayerScan) -> bytes:
    """The scan as bytes; ``decode`` reads them again."""
    value = [pack(scan.entries), [[key, _file(row)] for key, row in sorted(scan.files.items())]]
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)


def decode(data: bytes) -> LayerScan:
    """What ``encode`` made. Raises ValueError for anything else."""
    try:
        entries, files = json.loads(zlib.decompressobj().decompress(data, _LARGEST))
        return LayerScan(entries=tuple(unpack(entries)), files={int(key): _to_file(row) for key, row in files})
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, zlib.error) as problem:
        raise ValueError(f"not a scan: {problem}") from None


def _file(found: FileScan) -> dict[str, Any]:
    """Only what is not empty."""
    row: dict[str, Any] = {}
    for name in ("broken", "shebang", "text", "private_key"):
        if value := getattr(found, name):
            row[name] = value
    if found.elf is not None:
        row["elf"] = asdict(found.elf)
    if found.pyc is not None:
        row["pyc"] = list(asdict(found.pyc).values())
    if found.uses:
        row["uses"] = [list(asdict(use).values()) for use in found.uses]
    if found.folders:
        row["folders"] = found.folders
    return row


def _to_file(row: dict[str, Any]) -> FileScan:
    rest = dict(row)
    elf, pyc, uses = rest.pop("elf", None), rest.pop("pyc", None), rest.pop("uses", ())
    return FileScan(
        elf=None if elf is None else _to_elf(elf),
        pyc=None if pyc is None else Pyc(magic=pyc[0], flags=pyc[1], mtime=pyc[2], size=pyc[3]),
        uses=tuple(Use(kind=use[0], name=use[1], line=use[2], top=use[3], guarded=use[4]) for use in uses),
        folders=tuple(rest.pop("folders", ())),
        **rest,
    )


def _to_elf(value: dict[str, Any]) -> ElfFacts:
    rest = dict(value)
    for name in ("needed", "rpath", "runpath", "verdef"):
        rest[name] = tuple(rest[name])
    for name in ("verneed", "verneed_weak"):
        rest[name] = _to_versions(rest[name])
    return ElfFacts(**rest)


def _to_versions(rows: list[Any]) -> Versions:
    return tuple((library, tuple(names)) for library, names in rows)
