"""An image's SBOM in CycloneDX 1.6 (ECMA-424), as JSON.

It is a function of the image alone: whoever reads the image, at any time and by any way, gets the same bytes from the
same version of dpbuild.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final

from dpbuild import __version__
from dpbuild.archive.overlay import FileTree
from dpbuild.oci.codec import canonical, decode_object
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.platform import Platform
from dpbuild.stages.inventory import InventoryContents

if TYPE_CHECKING:
    from dpbuild.pypa.markers import Environment
    from dpbuild.stages.evidence.component import Component

Json = dict[str, Any]

# Part of the key of what is kept: whoever changes the document, or how it is kept, changes this.
FORMAT: Final = 4
SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
PREDICATE: Final = "https://cyclonedx.org/bom"
_IMAGE: Final = "image"
# RFC 3339, as JSON schemas check it.
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")


def sbom(
    image: Descriptor,
    platform: Platform,
    config: ImageConfig,
    tree: FileTree,
    contents: InventoryContents,
    environment: Environment | None,
) -> bytes:
    """The document for one platform's image; ``environment`` is that of its Python, if it has one."""
    # Imported here, because the document of an edited app is made of the one before (``alike``).
    from dpbuild.stages.evidence.distributions import distributions
    from dpbuild.stages.evidence.system import packages

    found = (*packages(tree, contents), *distributions(tree, contents, environment))
    needs: dict[str, list[str]] = {row.ref: sorted(row.needs) for row in found}
    for row in found:
        for ref, rows in row.inner_needs:
            needs[ref] = sorted({*needs.get(ref, ()), *rows})
    return _document(
        _subject(image, _IMAGE, str(platform)),
        [_component(row) for row in found],
        needs | {_IMAGE: _roots([row.ref for row in found], needs)},
        config.created,
    )


def combined(index: Descriptor, documents: Sequence[bytes]) -> bytes:
    """The document of an index: each platform's image with everything that its own document lists."""
    components, needs, times = [], {}, set()
    for data in documents:
        value = decode_object(data, "SBOM")
        image = value["metadata"]["component"]
        prefix = image["version"]
        renamed = _prefixed({**image, "components": value["components"]}, prefix)
        components.append(renamed)
        for row in value["dependencies"]:
            needs[f"{prefix}/{row['ref']}"] = [f"{prefix}/{ref}" for ref in row.get("dependsOn", [])]
        times.add(value["metadata"].get("timestamp", ""))
    needs[_IMAGE] = sorted(row["bom-ref"] for row in components)
    listed = [canonical(row) for row in components]
    return _document(_subject(index, _IMAGE, ""), listed, needs, max(times, default=""))


def _document(subject: Json, components: list[bytes], needs: dict[str, list[str]], created: str) -> bytes:
    """``components`` in canonical JSON."""
    metadata: Json = {
        "component": subject,
        "tools": {"components": [{"type": "application", "name": "dpbuild", "version": __version__}]},
    }
    if _TIME.fullmatch(created):
        metadata["timestamp"] = created
    value: Json = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "dependencies": [{"ref": ref} | ({"dependsOn": rows} if rows else {}) for ref, rows in sorted(needs.items())],
    }
    # Put together as ``canonical`` does, since nearly all of it is the same with the serial number and without.
    parts = {key: canonical(part) for key, part in value.items()}
    parts["components"] = _array(components)
    parts["serialNumber"] = canonical(serial(*_pieces(parts)))
    return b"".join(_pieces(parts))


def _pieces(parts: Mapping[str, bytes]) -> list[bytes]:
    """The canonical JSON of an object whose values are that already, which have megabytes and are not copied here."""
    pieces = []
    for key, part in sorted(parts.items()):
        pieces += [b',"%s":' % key.encode(), part]
    return [b"{", pieces[0][1:], *pieces[1:], b"}"]


def serial(*pieces: bytes | memoryview) -> str:
    """A UUID of the content: version 8 (RFC 9562, 5.8), which is for hashes of one's own choice."""
    content = hashlib.sha256()
    for piece in pieces:
        content.update(piece)
    raw = bytearray(content.digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"urn:uuid:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _subject(image: Descriptor, ref: str, platform: str) -> Json:
    row: Json = {
        "type": "container",
        "bom-ref": ref,
        "name": "image",
        "version": str(image.digest),
        "mime-type": image.media_type,
        "hashes": [{"alg": "SHA-256", "content": image.digest.hex}],
    }
    return row | ({"properties": [{"name": "dpbuild:platform", "value": platform}]} if platform else {})


def _component(row: Component) -> bytes:
    out: Json = {"type": row.kind, "bom-ref": row.ref, "name": row.name}
    for key, value in (("version", row.version), ("purl", row.purl), ("description", row.description)):
        if value:
            out[key] = value
    if row.licenses:
        first = row.licenses[0]
        declared = {"acknowledgement": "declared"}
        out["licenses"] = (
            [{"expression": first.expression, **declared}]
            if first.expression
            else [{"license": {"name": each.name, **declared}} for each in row.licenses]
        )
    if row.location:
        out["evidence"] = {"occurrences": [{"location": row.location}]}
    if row.notes:
        out["properties"] = [{"name": name, "value": value} for name, value in row.notes]
    parts = {key: canonical(value) for key, value in out.items()}
    if row.files or row.inner:
        parts["components"] = _array([*(_file(*each) for each in row.files), *map(canonical, row.inner)])
    return b"".join(_pieces(parts))


def _file(path: str, sha256: str) -> bytes:
    """The canonical JSON of a file's component: there are tens of thousands, and each alike."""
    text = f'{{"hashes":[{{"alg":"SHA-256","content":"{sha256}"}}],"name":{encode_basestring(path)},"type":"file"}}'
    return text.encode()


def _array(parts: Sequence[bytes]) -> bytes:
    """The canonical JSON of an array whose values are that already."""
    return b"[" + b",".join(parts) + b"]"


def _roots(refs: Iterable[str], needs: dict[str, list[str]]) -> list[str]:
    """What nothing else needs; and of what only a circle reaches, the first by name."""
    every = sorted(refs)
    needed = {ref for rows in needs.values() for ref in rows}
    roots = [ref for ref in every if ref not in needed]
    seen: set[str] = set()
    for ref in (*roots, *every):
        if ref not in seen:
            if ref not in roots:
                roots.append(ref)
            todo = [ref]
            while todo:
                here = todo.pop()
                if here not in seen:
                    seen.add(here)
                    todo += needs.get(here, [])
    return sorted(roots)


def _prefixed(row: Json, prefix: str) -> Json:
    """A component whose refs, and those below it, are unique among several documents."""
    out = dict(row)
    if "bom-ref" in row:
        out["bom-ref"] = f"{prefix}/{row['bom-ref']}"
    if "components" in row:
        out["components"] = [_prefixed(each, prefix) for each in row["components"]]
    return out
