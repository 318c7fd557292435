"""What a build is asked for, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from dpbuild.frozen import frozen
from dpbuild.model.image import Images, Written
from dpbuild.model.words import counted
from dpbuild.oci import mediatype
from dpbuild.oci.codec import encode_descriptor

if TYPE_CHECKING:
    from dpbuild.model.evidence import Evidence
    from dpbuild.oci.reference import RegistryReference
    from dpbuild.ports.reporter import Reporter


# Where the image goes if nothing else is said, in the project; never a part of the app.
DEFAULT_OUTPUT = ".dpbuild/image"
# The kinds of output that have a place for evidence.
_CARRIERS: Final = ("oci", "registry")


@frozen
class BuildOptions:
    """What the command line adds to the configuration; ``epoch`` is in seconds, None where nothing says it.

    ``sbom`` asks for the evidence even where it is not attached; ``file_time``, in seconds, is that of the app's
    files where it is known already; ``sign_key`` is the path of a private key; ``sign_keyless``
    has an identity sign, by the Sigstore that the file ``trust_config`` tells of, or else the public one.
    """

    push: bool = False
    load: bool = False
    outputs: tuple[str, ...] = ()
    locked: bool = False
    frozen: bool = False
    builder: str = "auto"
    epoch: int | None = None
    file_time: int | None = None
    expect_digest: str = ""
    sbom: bool = False
    sign_key: str = ""
    sign_keyless: bool = False
    trust_config: str = ""


@frozen
class Built:
    """What a build made, under which tags, and where it went; ``evidence`` has that of the index last.

    ``warnings`` are those of the proof, each with its mend; ``notes`` what was said of the files' time.
    """

    images: Images
    written: tuple[Written, ...]
    evidence: tuple[Evidence, ...] = ()
    tags: tuple[RegistryReference, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def metadata(self) -> dict[str, Any]:
        """For ``--metadata-file``."""
        return {
            "digest": str(self.images.descriptor.digest),
            "images": [encode_descriptor(image.descriptor) for image in self.images.images],
            "referrers": [
                encode_descriptor(row.descriptor) | {"subject": str(row.subject.digest)}
                for row in self.images.referrers
            ],
            "outputs": [
                {
                    "kind": row.kind,
                    "reference": row.reference,
                    "tags": list(row.tags),
                    "digest": str(row.descriptor.digest),
                    "mediaType": row.descriptor.media_type,
                    "size": row.descriptor.size,
                    "platforms": [str(platform) for platform in row.platforms],
                }
                for row in self.written
            ],
        }


def summary(
    images: Images, kept: Sequence[int], written: Sequence[Written], reporter: Reporter, seconds: float
) -> None:
    """Tell what was made: ``kept`` counts for each image the layers that were there from before."""
    for image, old in zip(images.images, kept, strict=True):
        layers = image.manifest.layers
        base = sum(row.size for row in layers[: image.base_layers])
        added = sum(row.size for row in layers[image.base_layers :])
        reporter.result(
            f"{image.platform}: {(base + added) / 1e6:.1f} MB, {added / 1e6:.1f} MB on top of the base's "
            f"{base / 1e6:.1f} MB; {counted(len(layers) - image.base_layers, 'layer')}, {old} of them kept from before"
        )
    for row in written:
        names = f" as {', '.join(row.tags)}" if row.tags else ""
        verb = "sent" if row.kind == "registry" else "written"
        moved = f", {row.sent / 1e6:.1f} MB {verb}, {row.present / 1e6:.1f} MB were there"
        reporter.result(f"{row.kind}: {row.descriptor.digest}{names}{moved}")
    if images.referrers and not any(row.kind in _CARRIERS for row in written):
        # An engine is for trying out, and a note each time is in the way; but whoever signs wants to be believed.
        signed = any(row.tag or row.descriptor.artifact_type == mediatype.SIGSTORE_BUNDLE for row in images.referrers)
        if signed or any(row.kind == "oci-archive" for row in written):
            what = "SBOM, provenance and signatures are" if signed else "SBOM and provenance are"
            reporter.note(
                f"{what} in none of these outputs: archives and engines have no place for them; add -o FOLDER or --push"
            )
    reporter.result(f"done in {seconds:.1f} s")
