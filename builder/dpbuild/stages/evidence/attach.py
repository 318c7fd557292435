"""The evidence of a build, attached to each platform's manifest and to the index."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from dpbuild import __version__
from dpbuild.model.base import Base
from dpbuild.model.config import Config
from dpbuild.model.evidence import Inputs, Made
from dpbuild.model.image import Images, Referrer
from dpbuild.oci import mediatype
from dpbuild.oci.descriptor import Descriptor
from dpbuild.stages.app import App
from dpbuild.stages.evidence.provenance import PREDICATE, provenance
from dpbuild.stages.evidence.referrers import referrer
from dpbuild.stages.image import timestamp


def inputs(
    config: Config,
    app: App,
    lock: str,
    builder: Base | None,
    commit: tuple[str, int] | None,
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
        revision=commit[0] if commit else "",
    )


def attach(images: Images, made: Sequence[Made], inputs: Inputs) -> Images:
    """The same images with their evidence, that of the index behind that of the platforms."""
    created = timestamp(inputs.epoch)
    name = inputs.config.project.name or "image"
    ordered = sorted(made, key=lambda row: str(row.image.platform))

    def told(subjects: list[tuple[str, Descriptor]], rows: Sequence[Made]) -> Referrer:
        data = provenance(subjects, rows, inputs)
        return referrer(subjects[0][1], data, mediatype.IN_TOTO, created=created, predicate_type=PREDICATE)

    named = [(f"{name} {row.image.platform}", row.image.descriptor) for row in ordered]
    found = [told([subject], [row]) for subject, row in zip(named, ordered, strict=True)]
    if images.index_bytes:
        found.append(told([(name, images.descriptor), *named], ordered))
    return replace(images, referrers=tuple(found))
