"""JSON of manifests, indexes and configs: strict in what is read, canonical in what is written.

Canonical means: keys sorted, no white space, UTF-8, no escapes beyond those that JSON demands; so equal
values have equal bytes and therefore equal digests.
"""

import json
from typing import Any, TypeVar

from dpbuild.oci import mediatype
from dpbuild.oci.config import Healthcheck, History, ImageConfig
from dpbuild.oci.descriptor import Descriptor, Pairs
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Index, Manifest
from dpbuild.oci.platform import Platform

Json = dict[str, Any]
T = TypeVar("T")


class CodecError(ValueError):
    """The JSON is not what the spec says; the message holds the path to the field."""


def canonical(value: object) -> bytes:
    """The canonical bytes of a JSON value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode_object(data: bytes, what: str) -> Json:
    """Parse ``data``, which must be a JSON object; ``what`` names it in errors. Raises CodecError.

    What two readers could understand differently is refused: keys that are there twice (Go's readers do not even
    tell upper from lower case in the outermost object), encodings other than UTF-8, numbers that JSON lacks.
    """
    try:
        text = data.decode()
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        if "\\ud" in text.lower():
            # An escaped half of a surrogate pair has no UTF-8 form and could never be written again.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as problem:
        raise CodecError(f"{what} is not JSON: {problem}") from None
    if not isinstance(value, dict):
        raise CodecError(f"{what} is not a JSON object")
    if len({key.lower() for key in value}) < len(value):
        raise CodecError(f"{what} has a key twice, in upper and lower case")
    return value


def _object(rows: list[tuple[str, Any]]) -> Json:
    value = dict(rows)
    if len(value) < len(rows):
        raise ValueError("an object has a key twice")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _field(value: Json, key: str, kind: type[T], path: str, default: T | None = None) -> T:
    found = value.get(key)
    if found is None and default is not None:
        return default
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise CodecError(f"{path}.{key} is {'missing' if found is None else 'not ' + kind.__name__}")
    return found


def _strings(value: Json, key: str, path: str) -> tuple[str, ...]:
    rows = _field(value, key, list, path, [])
    if not all(isinstance(row, str) for row in rows):
        raise CodecError(f"{path}.{key} is not a list of strings")
    return tuple(rows)


def _pairs(value: Json, key: str, path: str) -> Pairs:
    rows = _field(value, key, dict, path, {})
    if not all(isinstance(row, str) for row in rows.values()):
        raise CodecError(f"{path}.{key} has a value that is not a string")
    return tuple(sorted(rows.items()))


def _digest(value: Json, key: str, path: str) -> Digest:
    text = _field(value, key, str, path)
    try:
        return Digest.parse(text)
    except ValueError as problem:
        raise CodecError(f"{path}.{key}: {problem}") from None


def _platform(value: Json, path: str) -> Platform:
    words = [_field(value, key, str, path, "") for key in ("os", "architecture", "variant")]
    return Platform(*words).normalized()


def decode_descriptor(value: object, path: str) -> Descriptor:
    """One descriptor. Raises CodecError."""
    if not isinstance(value, dict):
        raise CodecError(f"{path} is not an object")
    size = _field(value, "size", int, path)
    if size < 0:
        raise CodecError(f"{path}.size is negative")
    platform = value.get("platform")
    return Descriptor(
        media_type=_field(value, "mediaType", str, path),
        digest=_digest(value, "digest", path),
        size=size,
        platform=_platform(platform, f"{path}.platform") if isinstance(platform, dict) else None,
        annotations=_pairs(value, "annotations", path),
        artifact_type=_field(value, "artifactType", str, path, ""),
    )


def encode_descriptor(value: Descriptor) -> Json:
    """The JSON of one descriptor."""
    out: Json = {"mediaType": value.media_type, "digest": str(value.digest), "size": value.size}
    if value.platform is not None:
        out["platform"] = encode_platform(value.platform)
    if value.artifact_type:
        out["artifactType"] = value.artifact_type
    if value.annotations:
        out["annotations"] = dict(value.annotations)
    return out


def encode_platform(value: Platform) -> Json:
    """The JSON of one platform; arm64 is written with its variant, as registries show it."""
    variant = value.variant or ("v8" if value.architecture == "arm64" else "")
    out: Json = {"architecture": value.architecture, "os": value.os}
    return out | {"variant": variant} if variant else out


def decode(data: bytes, media_type: str = "") -> Manifest | Index:
    """A manifest or an index; ``media_type`` is what the transport said it is. Raises CodecError."""
    value = decode_object(data, "manifest")
    if value.get("schemaVersion", 2) != 2:
        raise CodecError(f"$.schemaVersion is {value['schemaVersion']!r}, only 2 is read")
    if "manifests" in value and ("layers" in value or "config" in value):
        # OCI image spec, manifest.md: such a document is an image to one reader and an index to another.
        raise CodecError("both an image manifest and an index")
    kind = _field(value, "mediaType", str, "$", "") or media_type
    if kind in mediatype.INDEXES or (not kind and "manifests" in value):
        rows = _field(value, "manifests", list, "$")
        return Index(
            media_type=kind or mediatype.OCI_INDEX,
            manifests=tuple(decode_descriptor(row, f"$.manifests[{i}]") for i, row in enumerate(rows)),
            annotations=_pairs(value, "annotations", "$"),
        )
    if kind in mediatype.MANIFESTS or (not kind and "layers" in value):
        if "config" not in value:
            raise CodecError("$.config is missing")
        rows = _field(value, "layers", list, "$")
        return Manifest(
            media_type=kind or mediatype.OCI_MANIFEST,
            config=decode_descriptor(value["config"], "$.config"),
            layers=tuple(decode_descriptor(row, f"$.layers[{i}]") for i, row in enumerate(rows)),
            annotations=_pairs(value, "annotations", "$"),
            artifact_type=_field(value, "artifactType", str, "$", ""),
            subject=decode_descriptor(value["subject"], "$.subject") if value.get("subject") else None,
        )
    raise CodecError(f"neither an image manifest nor an index: mediaType {kind!r}")


def encode_manifest(value: Manifest) -> bytes:
    """The canonical bytes of a manifest."""
    out: Json = {
        "schemaVersion": 2,
        "mediaType": value.media_type,
        "config": encode_descriptor(value.config),
        "layers": [encode_descriptor(row) for row in value.layers],
    }
    if value.artifact_type:
        out["artifactType"] = value.artifact_type
    if value.subject is not None:
        out["subject"] = encode_descriptor(value.subject)
    if value.annotations:
        out["annotations"] = dict(value.annotations)
    return canonical(out)


def encode_index(value: Index) -> bytes:
    """The canonical bytes of an index."""
    out: Json = {
        "schemaVersion": 2,
        "mediaType": value.media_type,
        "manifests": [encode_descriptor(row) for row in value.manifests],
    }
    if value.annotations:
        out["annotations"] = dict(value.annotations)
    return canonical(out)


def decode_config(data: bytes) -> ImageConfig:
    """An image config. Raises CodecError."""
    value = decode_object(data, "config")
    inner = _field(value, "config", dict, "$", {})
    rootfs = _field(value, "rootfs", dict, "$", {})
    diff_ids = []
    for text in _strings(rootfs, "diff_ids", "$.rootfs"):
        try:
            diff_ids.append(Digest.parse(text))
        except ValueError as problem:
            raise CodecError(f"$.rootfs.diff_ids: {problem}") from None
    health = inner.get("Healthcheck")
    return ImageConfig(
        platform=_platform(value, "$"),
        diff_ids=tuple(diff_ids),
        history=tuple(
            History(
                created=str(row.get("created") or ""),
                created_by=str(row.get("created_by") or ""),
                comment=str(row.get("comment") or ""),
                author=str(row.get("author") or ""),
                empty_layer=bool(row.get("empty_layer")),
            )
            for row in _field(value, "history", list, "$", [])
            if isinstance(row, dict)
        ),
        created=_field(value, "created", str, "$", ""),
        author=_field(value, "author", str, "$", ""),
        user=_field(inner, "User", str, "$.config", ""),
        env=_strings(inner, "Env", "$.config"),
        entrypoint=_strings(inner, "Entrypoint", "$.config"),
        cmd=_strings(inner, "Cmd", "$.config"),
        working_dir=_field(inner, "WorkingDir", str, "$.config", ""),
        exposed_ports=tuple(sorted(_field(inner, "ExposedPorts", dict, "$.config", {}))),
        volumes=tuple(sorted(_field(inner, "Volumes", dict, "$.config", {}))),
        labels=_pairs(inner, "Labels", "$.config"),
        stop_signal=_field(inner, "StopSignal", str, "$.config", ""),
        healthcheck=_healthcheck(health) if isinstance(health, dict) else None,
        shell=_strings(inner, "Shell", "$.config"),
    )


def _healthcheck(value: Json) -> Healthcheck:
    path = "$.config.Healthcheck"
    return Healthcheck(
        test=_strings(value, "Test", path),
        interval=_field(value, "Interval", int, path, 0),
        timeout=_field(value, "Timeout", int, path, 0),
        start_period=_field(value, "StartPeriod", int, path, 0),
        start_interval=_field(value, "StartInterval", int, path, 0),
        retries=_field(value, "Retries", int, path, 0),
    )


def encode_config(value: ImageConfig) -> bytes:
    """The canonical bytes of an image config; empty fields are left out."""
    inner: Json = {
        "User": value.user,
        "Env": list(value.env),
        "Entrypoint": list(value.entrypoint),
        "Cmd": list(value.cmd),
        "WorkingDir": value.working_dir,
        "ExposedPorts": {port: {} for port in value.exposed_ports},
        "Volumes": {path: {} for path in value.volumes},
        "Labels": dict(value.labels),
        "StopSignal": value.stop_signal,
        "Shell": list(value.shell),
    }
    if value.healthcheck is not None:
        check = value.healthcheck
        numbers = {
            "Interval": check.interval,
            "Timeout": check.timeout,
            "StartPeriod": check.start_period,
            "StartInterval": check.start_interval,
            "Retries": check.retries,
        }
        inner["Healthcheck"] = {"Test": list(check.test)} | {key: row for key, row in numbers.items() if row}
    history = []
    for row in value.history:
        line: Json = {
            "created": row.created,
            "created_by": row.created_by,
            "comment": row.comment,
            "author": row.author,
            "empty_layer": row.empty_layer,
        }
        history.append({key: found for key, found in line.items() if found})
    out: Json = {
        **encode_platform(value.platform),
        "created": value.created,
        "author": value.author,
        "history": history,
    }
    return canonical(
        {key: row for key, row in out.items() if row}
        | {
            "config": {key: row for key, row in inner.items() if row},
            "rootfs": {"type": "layers", "diff_ids": [str(row) for row in value.diff_ids]},
        }
    )
