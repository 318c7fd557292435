"""``dpbuild build``."""

from pathlib import Path
from typing import Any

import click

from dpbuild.cli import options
from dpbuild.errors import OutputError, UsageError
from dpbuild.oci.digest import Digest


@click.command("build")
@click.argument("path", type=click.Path(path_type=Path), default=".")
@click.option(
    "-t", "--tag", "tags", multiple=True, envvar="DPBUILD_TAG", metavar="REF", help="A name for the image; repeat."
)
@click.option("--push", is_flag=True, envvar="DPBUILD_PUSH", help="Push it to the registries of its tags.")
@click.option("--load", is_flag=True, envvar="DPBUILD_LOAD", help="Load it into the Docker engine.")
@options.outputs
@options.platforms
@options.base
@click.option("--locked", is_flag=True, envvar="DPBUILD_LOCKED", help="Fail if the lock is missing or stale.")
@click.option("--frozen", is_flag=True, envvar="DPBUILD_FROZEN", help="Use the lock without looking at its inputs.")
@options.builder
@click.option(
    "--epoch", type=click.IntRange(min=0), envvar="DPBUILD_EPOCH", help="Seconds; default SOURCE_DATE_EPOCH, else 0."
)
@click.option(
    "--metadata-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="DPBUILD_METADATA_FILE",
    help="Describe all outputs there, as JSON.",
)
@click.option(
    "--expect-digest", envvar="DPBUILD_EXPECT_DIGEST", metavar="DIGEST", help="Fail unless the image has this digest."
)
@click.option(
    "--sbom",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="DPBUILD_SBOM",
    metavar="FILE",
    help="Write the image's SBOM there too (CycloneDX 1.6); that of all platforms, if there are several.",
)
@click.option(
    "--sign-key",
    type=click.Path(dir_okay=False),
    envvar="DPBUILD_SIGN_KEY",
    metavar="FILE",
    help="Sign the image and its evidence with this private key; its password is DPBUILD_SIGN_PASSWORD.",
)
@click.option(
    "--evidence/--no-evidence",
    default=None,
    envvar="DPBUILD_EVIDENCE",
    help="Attach SBOM and provenance, or do not.  [default: attach]",
)
@options.common
def command(path: Path, **given: Any) -> None:
    """Make an image from the project in PATH (default: this folder).

    Without --push, --load or -o it is written to .dpbuild/image in the project. One line goes to stdout:
    what was written, by digest, as every other verb takes it.
    """
    from dpbuild.built import BuildOptions
    from dpbuild.unchanged import build

    outputs = options.paths(given["outputs"])
    _check(given["expect_digest"])
    for name in ("metadata_file", "sbom"):
        _check_file(f"--{name.replace('_', '-')}", given[name])
    world = options.world(**given)
    folder = options.directory(path)
    flags: dict[str, object] = {}
    if given["tags"]:
        flags["tags"] = [part for value in given["tags"] for part in value.split()]
    if given["platform"]:
        flags["platforms"] = [*options.split(given["platform"])]
    if given["base"]:
        flags["base"] = given["base"]
    if given["evidence"] is not None:
        flags["evidence"] = given["evidence"]
    written = [Path(path) for path in (*outputs, given["metadata_file"], given["sbom"]) if path]
    built = build(
        world.project(folder, written),
        flags,
        BuildOptions(
            push=given["push"],
            load=given["load"],
            outputs=outputs,
            locked=given["locked"],
            frozen=given["frozen"],
            builder=given["builder"],
            epoch=given["epoch"] if given["epoch"] is not None else world.epoch,
            expect_digest=given["expect_digest"] or "",
            sbom=given["sbom"] is not None,
            sign_key=given["sign_key"] or "",
        ),
        world,
    )
    if given["metadata_file"]:
        world.write_json(given["metadata_file"], built.metadata())
    if given["sbom"]:
        world.write_file(given["sbom"], built.evidence[-1].sbom)
    click.echo(built.written[0].reference)


def _check(digest: str | None) -> None:
    """What would otherwise fail when much of the work is done. Raises UsageError."""
    if digest:
        try:
            Digest.parse(digest)
        except ValueError as problem:
            raise UsageError(
                f"--expect-digest: {problem}", hint="a digest is sha256: and 64 hexadecimal digits"
            ) from None


def _check_file(option: str, path: Path | None) -> None:
    """Whether a file that is written last can be written. Raises OutputError."""
    if path is None:
        return
    from dpbuild.adapters.sink.files import probe

    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"there is no folder for {option}", where=str(path), hint="make the folder first")
    try:
        probe(folder)
    except OSError as problem:
        raise OutputError(f"cannot write {option}: {problem.strerror}", where=str(path)) from None
