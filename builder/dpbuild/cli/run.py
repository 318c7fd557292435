"""``dpbuild run``."""

from typing import Any

import click

from dpbuild.cli import options
from dpbuild.errors import UsageError
from dpbuild.oci.platform import Platform


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("ref")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--builder",
    type=click.Choice(["auto", "docker", "podman", "bubblewrap", "none"]),
    default="auto",
    envvar="DPBUILD_BUILDER",
    help="What runs it; none is the image's own interpreter, without isolation.",
)
@options.platforms
@options.common
@click.pass_context
def command(context: click.Context, /, ref: str, arguments: tuple[str, ...], **given: Any) -> None:
    """Run the image REF; ARGUMENTS after -- replace its Cmd. The exit status is the program's.

    In an engine or in bubblewrap if one works here, otherwise by the image's own interpreter, which is not
    isolated from this machine. Which it was goes to stderr.
    """
    from dpbuild.oci.reference import parse
    from dpbuild.running import run

    world = options.world(**given)
    try:
        reference = parse(ref)
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    names = options.split(given["platform"])
    if len(names) > 1:
        raise UsageError("an image is run for one platform")
    try:
        platform = Platform.parse(names[0]) if names else world.host
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    # What stands before REF ends dpbuild's own options; what separates REF from its arguments is not one of them.
    words = arguments[1:] if arguments[:1] == ("--",) else arguments
    context.exit(run(reference, platform, words, given["builder"], world))
