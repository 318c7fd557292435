"""``dpbuild rebuild``."""

import tempfile
from pathlib import Path
from typing import Any

import click

from dpbuild.cli import options
from dpbuild.errors import DigestDrift


@click.command("rebuild")
@click.argument("reference", metavar="REF")
@click.argument("path", type=click.Path(path_type=Path), default=".")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    envvar="DPBUILD_OUTPUT",
    help="Keep the new image in this folder, as an OCI layout.",
)
@options.common
def command(reference: str, path: Path, *, output: Path | None, **given: Any) -> None:
    """Build the image REF again from its provenance and the project in PATH (default: this folder); compare digests.

    Configuration, base, locks and times are those of the provenance; the project is not changed. If the digests
    differ, what differs and why goes to stdout, and the exit code is 81.
    """
    from dpbuild.cli.diff import render
    from dpbuild.rebuilding import rebuild

    world = options.world(**given)
    parsed = options.image(reference)
    project = world.project(options.directory(path))
    with tempfile.TemporaryDirectory(prefix="dpbuild-") as folder:
        place = output.absolute() if output is not None else Path(folder) / "image"
        found = rebuild(parsed, project, str(place), world)
    if found.before == found.after:
        click.echo(f"the same: {found.after}")
        return
    for reason in found.reasons:
        click.echo(f"because {reason}")
    for platform, comparison in found.comparisons:
        click.echo(f"{platform}:\n{render(comparison)}")
    first = f": {found.reasons[0]}" if found.reasons else ""
    raise DigestDrift(f"rebuilding gave {found.after}, the image is {found.before}{first}", where=str(parsed))
