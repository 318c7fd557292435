"""The evidence of a build, attached to each platform's manifest and to the index."""

import hashlib
from collections.abc import Iterable, Sequence

from dpbuild import __version__
from dpbuild.frozen import replace
from dpbuild.model.artifact import Artifact
from dpbuild.model.base import Base
from dpbuild.model.config import Config
from dpbuild.model.evidence import Chosen, Evidence, Inputs, Made
from dpbuild.model.image import Image, Images, Referrer
from dpbuild.model.lock import Lock
from dpbuild.oci import mediatype
from dpbuild.stages.app import App
from dpbuild.stages.evidence.provenance import PREDICATE, provenance
from dpbuild.stages.evidence.referrers import referrer
from dpbuild.stages.evidence.sbom import combined
from dpbuild.stages.image import timestamp


def made_from(image: Image, base: Base, wheels: Chosen, lock: Lock, artifacts: Iterable[Artifact]) -> Made:
    """One platform's image with what the lock says of it; ``artifacts`` are all of its wheels."""
    platform = str(image.platform)
    row = next((each for each in lock.bases if each.platform == platform), None)
    runtime = lock.runtime_of(platform)
    return Made(
        image=image,
        base=base,
        wheels=wheels,
        packages=row.packages if row else (),
        runtime=runtime.packages if runtime else (),
        inside=tuple(sorted({row for artifact in artifacts for row in artifact.inside})),
    )


def inputs(
    config: Config,
    app: App,
    lock: str,
    builder: Base | None,
    commit: str,
    *,
    epoch: int,
    file_time: int,
) -> Inputs:
    """What all platforms of a build share; ``lock`` is the lock's text, ``builder`` what built the app's wheel."""
    beside = [(f"/{row.path}", row.identity[1].hex()) for row in app.beside if row.identity[0] == "sha256"]
    certificates = zip(config.ca_certificates, app.certificates, strict=True)
    return Inputs(
        config=config,
        kind=app.kind,
        version=__version__,
        epoch=epoch,
        file_time=file_time,
        lock=lock,
        build_lock=app.build_lock,
        build_wheels=app.build_wheels,
        builder=builder,
        app_wheel=app.artifact,
        sources=app.sources,
        files=(*beside, *((name, hashlib.sha256(data).hexdigest()) for name, data in certificates)),
        revision=commit,
    )


def documents(images: Images, made: Sequence[Made], sboms: Sequence[bytes], inputs: Inputs) -> tuple[Evidence, ...]:
    """The evidence of each platform's image, and then of the index; ``sboms`` are in the order of ``made``."""
    name = inputs.config.project.name or "image"
    ordered = sorted(zip(made, sboms, strict=True), key=lambda row: str(row[0].image.platform))
    named = [(f"{name} {row.image.platform}", row.image.descriptor) for row, _ in ordered]
    found = [
        Evidence(subject=subject[1], sbom=listed, provenance=provenance([subject], [row], inputs))
        for subject, (row, listed) in zip(named, ordered, strict=True)
    ]
    if images.index_bytes:
        told = provenance([(name, images.descriptor), *named], [row for row, _ in ordered], inputs)
        listed = combined(images.descriptor, [row for _, row in ordered])
        found.append(Evidence(subject=images.descriptor, sbom=listed, provenance=told))
    return tuple(found)


def attach(images: Images, evidence: Sequence[Evidence], epoch: int) -> Images:
    """The same images with manifests that refer to them; ``epoch`` is in seconds."""
    created = timestamp(epoch)
    rows: list[Referrer] = []
    for each in evidence:
        rows.append(referrer(each.subject, each.sbom, mediatype.CYCLONEDX, created=created))
        rows.append(
            referrer(each.subject, each.provenance, mediatype.IN_TOTO, created=created, predicate_type=PREDICATE)
        )
    return replace(images, referrers=tuple(rows))
