"""``dpbuild build``."""

from pathlib import Path
from typing import Any

import click

from dpbuild.cli import options
from dpbuild.cli.building import perform


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
    "--sign-keyless",
    is_flag=True,
    envvar="DPBUILD_SIGN_KEYLESS",
    help="Sign with an identity in place of a key, by Sigstore; its token is SIGSTORE_ID_TOKEN, else the CI job's.",
)
@options.trust_config
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
    perform(path, given, lambda: options.world(**given))
