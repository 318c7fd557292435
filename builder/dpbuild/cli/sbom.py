"""``dpbuild sbom``."""

from pathlib import Path
from typing import Any

import click

from dpbuild.cli import options
from dpbuild.errors import UsageError
from dpbuild.oci.platform import Platform


@click.command("sbom")
@click.argument("reference", metavar="REF")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="DPBUILD_OUTPUT",
    metavar="FILE",
    help="Write it there instead of to stdout.",
)
@options.platforms
@options.common
def command(reference: str, *, output: Path | None, **given: Any) -> None:
    """List every package in the image REF, as CycloneDX 1.6 in JSON.

    It is read from the image's own layers, whoever made them, and not from an SBOM that is attached to it; for an image
    of dpbuild the two are equal.
    """
    from dpbuild.describing import read_sbom

    world = options.world(**given)
    wanted = options.split(given["platform"])
    if len(wanted) > 1:
        raise UsageError("an SBOM is printed for one platform", hint="give --platform once")
    try:
        parsed = options.image(reference)
        platform = Platform.parse(wanted[0]) if wanted else world.host
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    data = read_sbom(parsed, platform, world)
    if output is not None:
        world.write_file(output, data)
    else:
        # The document is canonical JSON, which ends without a line's end; a terminal and most tools want one.
        click.echo(data)
