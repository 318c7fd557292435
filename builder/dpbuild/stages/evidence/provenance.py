"""SLSA provenance (slsa.dev/spec/v1.1/provenance) as an in-toto statement (in-toto/attestation, spec/v1). Pure.

The same inputs give the same bytes: no clock, no host, nothing that tells one run from another.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from dpbuild.frozen import replace
from dpbuild.model.artifact import Artifact
from dpbuild.model.base import Base
from dpbuild.model.evidence import Chosen, Inputs, Made
from dpbuild.oci.codec import canonical
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.reference import ArchiveReference, ComposeReference, LayoutReference, RegistryReference
from dpbuild.stages.evidence import purl
from dpbuild.stages.evidence.parameters import parameters, without_user
from dpbuild.stages.layers.site import FORMAT

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
# Names of ours, explained in docs/evidence.md; whoever changes what they stand for gives them another number.
BUILD_TYPE: Final = "urn:dpbuild:build:v1"
BUILDER: Final = "urn:dpbuild:builder:v1"
LOCK: Final = "pylock.dpbuild.toml"
BUILD_LOCK: Final = "pylock.dpbuild-build.toml"

Json = dict[str, Any]


def statement(subjects: Sequence[tuple[str, Descriptor]], predicate_type: str, predicate: Json) -> bytes:
    """An in-toto statement about manifests, each with a name; canonical JSON."""
    return canonical(
        {
            "_type": STATEMENT,
            "subject": [{"name": name, "digest": {"sha256": row.digest.hex}} for name, row in subjects],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def provenance(subjects: Sequence[tuple[str, Descriptor]], made: Sequence[Made], inputs: Inputs) -> bytes:
    """The statement for these subjects, which were made for the platforms of ``made``."""
    dependencies = [
        *(_base(row) for row in made),
        *(each for row in made for each in _packages(row)),
        *([_builder(inputs.builder)] if inputs.builder is not None else []),
        _lock(LOCK, inputs.lock, "lock"),
        *([_lock(BUILD_LOCK, inputs.build_lock, "build-lock")] if inputs.build_lock else []),
        *_wheels([(str(row.image.platform), row.wheels) for row in made], "wheel"),
        *_wheels([("", inputs.build_wheels)], "build-wheel"),
        *([_revision(inputs.revision, inputs.config.project.source)] if inputs.revision else []),
        *(_source(file.path, file.sha256, file.target, executable=file.executable) for file in inputs.sources),
        *(_resource(name, sha256, "file") for name, sha256 in inputs.files),
    ]
    details: Json = {"builder": {"id": BUILDER, "version": {"dpbuild": inputs.version}}}
    if inputs.app_wheel is not None:
        details["byproducts"] = [_byproduct(inputs.app_wheel)]
    return statement(
        subjects,
        PREDICATE,
        {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "config": parameters(inputs.config),
                    "platforms": [str(row.image.platform) for row in made],
                    "app": inputs.kind,
                    "epoch": inputs.epoch,
                    "fileTime": inputs.file_time,
                },
                "internalParameters": {"layerFormat": FORMAT},
                "resolvedDependencies": dependencies,
            },
            "runDetails": details,
        },
    )


def _resource(name: str, sha256: str, role: str, **more: Any) -> Json:
    """A resource descriptor (in-toto/attestation, spec/v1/resource_descriptor.md)."""
    annotations = {"role": role, **more.pop("annotations", {})}
    return {"name": name, "digest": {"sha256": sha256}, "annotations": annotations, **more}


def reference_of(base: Base) -> str:
    """The base as every verb takes it: by what its reference named, and by digest where that means something."""
    match base.reference:
        case RegistryReference():
            return f"docker://{replace(base.reference, digest=base.root.digest)}"
        case ComposeReference():
            return str(replace(base.reference, digest=base.descriptor.digest))
        case LayoutReference() | ArchiveReference():
            return str(replace(base.reference, digest=base.root.digest))
        case other:
            return str(other)


def _base(made: Made) -> Json:
    base = made.base
    return _resource(
        "base",
        base.descriptor.digest.hex,
        "base",
        uri=reference_of(base),
        mediaType=base.descriptor.media_type,
        annotations={"platform": str(base.platform), "python": base.facts.version},
    )


def _builder(base: Base) -> Json:
    """What built the app's wheel: the base's own interpreter."""
    return _resource(
        "builder",
        base.descriptor.digest.hex,
        "builder",
        uri=reference_of(base),
        annotations={"platform": str(base.platform), "interpreter": base.facts.interpreter_sha256},
    )


def _packages(made: Made) -> list[Json]:
    """The Debian packages of a composed base, those that are added, and those that wheels have libraries of."""
    if not (made.packages or made.runtime or made.inside):
        return []
    from dpbuild.debian.suites import ARCHITECTURES

    facts = made.base.facts
    # Some packages are for all architectures, which the lock does not tell.
    architectures = {row.name: row.architecture for row in facts.packages}
    return [
        _resource(
            name,
            sha256,
            role,
            uri=purl.debian(name, version, architectures.get(name, usual), facts.distributor),
            annotations={"platform": str(made.image.platform)},
        )
        for role, rows, usual in (
            ("base-package", made.packages, ""),
            ("runtime-package", made.runtime, ""),
            # What can be loaded is for one architecture.
            ("wheel-package", made.inside, ARCHITECTURES.get(made.image.platform.architecture, "")),
        )
        for name, version, sha256 in rows
    ]


def _lock(name: str, text: str, role: str) -> Json:
    data = text.encode()
    content = base64.b64encode(data).decode()
    return _resource(name, hashlib.sha256(data).hexdigest(), role, mediaType="application/toml", content=content)


def _wheels(rows: Sequence[tuple[str, Chosen]], role: str) -> list[Json]:
    """Every file once, with the platforms that it is for."""
    found: dict[str, Json] = {}
    for platform, chosen in rows:
        for package, file in chosen:
            row = found.get(file.sha256)
            if row is None:
                row = _resource(file.name, file.sha256, role, uri=purl.pypi(package.name, package.version))
                if file.url:
                    row["downloadLocation"] = without_user(file.url)
                found[file.sha256] = row
            if platform:
                row["annotations"].setdefault("platforms", []).append(platform)
    return sorted(found.values(), key=lambda row: (row["name"], row["digest"]["sha256"]))


def _revision(commit: str, source: str) -> Json:
    row: Json = {"name": "revision", "digest": {"gitCommit": commit}, "annotations": {"role": "revision"}}
    return row | ({"uri": f"git+{source}"} if source else {})


def _source(path: str, sha256: str, target: str, *, executable: bool) -> Json:
    more: Json = {"executable": True} if executable else {}
    if target:
        # A link has no content; what it says is its target.
        return _resource(path, hashlib.sha256(target.encode()).hexdigest(), "source", annotations={"target": target})
    return _resource(path, sha256, "source", annotations=more)


def _byproduct(wheel: Artifact) -> Json:
    return _resource(wheel.filename, wheel.digest.hex, "app-wheel", uri=purl.pypi(wheel.name, wheel.version))
