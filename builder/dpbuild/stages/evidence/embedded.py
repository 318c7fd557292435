"""SBOMs inside wheels (PEP 770), in the terms of ours: CycloneDX' JSON and SPDX' JSON.

What is taken over is what every version of these formats has, checked field by field: a wheel's document must not make
ours invalid. One that cannot be read is noted with its path.
"""

import itertools
import json
import re
from typing import Any, Final

from dpbuild.frozen import frozen
from dpbuild.stages.evidence.spdx import expression

Json = dict[str, Any]

# CycloneDX 1.6, "component.type".
_TYPES: Final = frozenset(
    {
        "application", "framework", "library", "container", "platform", "operating-system", "device", "device-driver",
        "firmware", "file", "machine-learning-model", "data", "cryptographic-asset",
    }
)  # fmt: skip
# CycloneDX 1.6, "hash-alg" (those that occur), with the length of each in hexadecimal digits.
_HASHES: Final = {"MD5": 32, "SHA-1": 40, "SHA-256": 64, "SHA-384": 96, "SHA-512": 128}
_DEEPEST: Final = 8
_UNREADABLE: Final = "dpbuild:sbom:unreadable"
_MERGED: Final = "dpbuild:sbom:merged"


@frozen(kw_only=False)
class Embedded:
    """What one document lists: components in CycloneDX' JSON, dependencies by our refs, and notes."""

    components: tuple[Json, ...] = ()
    needs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()


def read(path: str, data: bytes | None, owner: str) -> Embedded:
    """The document at ``path`` in the image; ``owner`` is the ref of the distribution that brings it."""
    try:
        value = json.loads(data or b"")
        if not isinstance(value, dict):
            raise TypeError(path)
        if value.get("bomFormat") == "CycloneDX":
            found = _cyclonedx(path, value, owner)
        elif str(value.get("spdxVersion", "")).startswith("SPDX-2"):
            found = _spdx(path, value, owner)
        else:
            raise ValueError(path)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Embedded(notes=((_UNREADABLE, path),))
    return Embedded(found.components, found.needs, ((_MERGED, path),))


def _cyclonedx(path: str, value: Json, owner: str) -> Embedded:
    refs: dict[str, str] = {}
    root = value.get("metadata", {}).get("component")
    if isinstance(root, dict) and "bom-ref" in root:
        # The document's subject is the distribution itself.
        refs[str(root["bom-ref"])] = owner
    rows = list(value.get("components") or [])
    if isinstance(root, dict):
        rows += root.get("components") or []
    # auditwheel lists the document's subject once more among the components.
    own = set(refs)
    found = _Found(f"{owner}#{path}", refs, own)
    components = tuple(found.component(row, 0) for row in rows if found.counts(row))
    needs: dict[str, set[str]] = {}
    for row in value.get("dependencies") or []:
        source = refs.get(str(row["ref"]))
        if source is not None:
            targets = {refs[str(each)] for each in row.get("dependsOn") or [] if str(each) in refs}
            needs.setdefault(source, set()).update(targets - {source})
    return Embedded(components, tuple((ref, tuple(sorted(rows))) for ref, rows in sorted(needs.items())))


class _Found:
    """The components of one document; ``refs`` maps its own refs to ours, ``own`` are those of its subject."""

    def __init__(self, prefix: str, refs: dict[str, str], own: set[str]) -> None:
        self._prefix = prefix
        self._refs = refs
        self._own = own
        self._number = itertools.count(1)

    def counts(self, row: Any) -> bool:
        """Whether it is a component, and not the document's subject."""
        return isinstance(row, dict) and str(row.get("bom-ref", "")) not in self._own

    def component(self, row: Json, depth: int) -> Json:
        """One component with those inside it."""
        kind, name = row.get("type"), row.get("name")
        out: Json = {
            "type": kind if kind in _TYPES else "library",
            "name": name if isinstance(name, str) else "unknown",
        }
        for key in ("group", "version", "purl", "description"):
            if isinstance(row.get(key), str) and row[key]:
                out[key] = row[key]
        ref = f"{self._prefix}:{next(self._number)}"
        self._refs[str(row.get("bom-ref", ref))] = ref
        out["bom-ref"] = ref
        if hashes := [found for each in row.get("hashes") or [] if (found := _hash(each))]:
            out["hashes"] = hashes
        if licenses := _licenses(row.get("licenses")):
            out["licenses"] = licenses
        inner = [each for each in row.get("components") or [] if self.counts(each)] if depth < _DEEPEST else []
        if inner:
            out["components"] = [self.component(each, depth + 1) for each in inner]
        return out


def _hash(value: Any) -> Json | None:
    if not isinstance(value, dict):
        return None
    algorithm, content = str(value.get("alg")), str(value.get("content")).lower()
    if len(content) != _HASHES.get(algorithm) or not re.fullmatch("[0-9a-f]+", content):
        return None
    return {"alg": algorithm, "content": content}


def _licenses(value: Any) -> list[Json]:
    """Either licences or one expression, as CycloneDX wants it."""
    texts = []
    for row in value if isinstance(value, list) else []:
        inner = row.get("license") if isinstance(row, dict) else None
        text = row.get("expression") or (inner.get("id") or inner.get("name") if isinstance(inner, dict) else "")
        if isinstance(text, str) and text:
            texts.append(text)
    found = expression(texts[0]) if len(texts) == 1 else ""
    return [{"expression": found}] if found else [{"license": {"name": text}} for text in texts]


def _spdx(path: str, value: Json, owner: str) -> Embedded:
    refs: dict[str, str] = {"SPDXRef-DOCUMENT": owner}
    subject = {str(each) for each in value.get("documentDescribes") or []}
    relations = value.get("relationships") or []
    for row in relations:
        if row.get("relationshipType") == "DESCRIBES":
            subject.add(str(row["relatedSpdxElement"]))
    refs |= dict.fromkeys(subject, owner)
    components = []
    for number, row in enumerate(value.get("packages") or []):
        if str(row["SPDXID"]) in subject:
            continue
        ref = refs[str(row["SPDXID"])] = f"{owner}#{path}:{number}"
        out: Json = {"type": "library", "name": str(row["name"]), "bom-ref": ref}
        if row.get("versionInfo"):
            out["version"] = str(row["versionInfo"])
        for each in row.get("externalRefs") or []:
            if each.get("referenceType") == "purl":
                out["purl"] = str(each["referenceLocator"])
        text = str(row.get("licenseConcluded") or row.get("licenseDeclared") or "")
        if text not in ("", "NOASSERTION", "NONE"):
            out["licenses"] = _licenses([{"expression": text}])
        components.append(out)
    needs: dict[str, set[str]] = {}
    for row in relations:
        source, other = refs.get(str(row["spdxElementId"])), refs.get(str(row["relatedSpdxElement"]))
        if row.get("relationshipType") in ("DEPENDS_ON", "CONTAINS") and source and other and source != other:
            needs.setdefault(source, set()).add(other)
    return Embedded(tuple(components), tuple((ref, tuple(sorted(rows))) for ref, rows in sorted(needs.items())))
