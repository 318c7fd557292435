"""``dpbuild run``."""

from typing import Any, Final

import click

from dpbuild.cli import options
from dpbuild.errors import FindingsError, UsageError
from dpbuild.frozen import replace
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference
from dpbuild.ports.runner import Published, Start
from dpbuild.wiring import World

_EVERYBODYS: Final = frozenset({"-q", "--quiet", "-v", "--verbose"})


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
@click.option(
    "--import-all",
    "import_all",
    is_flag=True,
    envvar="DPBUILD_IMPORT_ALL",
    help="Instead, import every top-level module of every distribution in it, and end with 70 if one fails.",
)
@click.option(
    "-p",
    "--publish",
    "publish",
    multiple=True,
    envvar="DPBUILD_PUBLISH",
    metavar="[[ADDRESS:]HOST:]PORT",
    help="Let this machine answer for the image's port, at 127.0.0.1 and the same port unless said otherwise; repeat.",
)
@click.option(
    "-e",
    "--env",
    "env",
    multiple=True,
    envvar="DPBUILD_ENV",
    metavar="NAME=VALUE",
    help="Set a variable over the image's own; repeat.",
)
@options.platforms
@options.common
@click.pass_context
def command(context: click.Context, /, ref: str, arguments: tuple[str, ...], *, import_all: bool, **given: Any) -> None:
    """Run the image REF; ARGUMENTS after -- replace its Cmd. The exit status is the program's.

    In an engine or in bubblewrap if one works here, otherwise by the image's own interpreter, which is not
    isolated from this machine. Which it was goes to stderr.
    """
    from dpbuild.running import run

    ports, env = tuple(map(_published, given["publish"])), tuple(map(_variable, given["env"]))
    world = options.world(**given)
    try:
        reference = options.image(ref)
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
    if words is arguments and (own := _own(context.command, words)):
        world.reporter.note(f"{own} goes to the program, since it stands behind REF; options of dpbuild stand before")
    if import_all:
        if words or ports or env:
            raise UsageError("--import-all runs nothing else, so it takes no arguments, ports or variables")
        _import_all(reference, platform, given["builder"], world)
        return
    context.exit(run(reference, platform, Start(arguments=words, env=env, ports=ports), given["builder"], world))


def _own(command: click.Command, words: tuple[str, ...]) -> str:
    """The first word that is an option of ``run``, too; not one that nearly every program has. "" for none."""
    options = {name for row in command.params if isinstance(row, click.Option) for name in row.opts} - _EVERYBODYS
    return next((name for word in words if (name := word.partition("=")[0]) in options), "")


def _published(text: str) -> Published:
    """``[[ADDRESS:]HOST:]PORT``. Raises UsageError."""
    rest, _, port = text.removesuffix("/tcp").rpartition(":")
    address, _, host = rest.rpartition(":")
    numbers = (port, host or port)
    if not all(row.isascii() and row.isdigit() and 0 < int(row) < 1 << 16 for row in numbers):
        raise UsageError(f"-p takes PORT, HOST:PORT or ADDRESS:HOST:PORT, not {text!r}")
    found = Published(port=int(port), host=int(host or port))
    if not address:
        return found
    from ipaddress import ip_address

    try:
        return replace(found, address=str(ip_address(address.removeprefix("[").removesuffix("]"))))
    except ValueError:
        raise UsageError(f"-p takes an IP address before the ports, not {address!r}") from None


def _variable(text: str) -> tuple[str, str]:
    """``NAME=VALUE``. Raises UsageError."""
    name, joint, value = text.partition("=")
    if not name or not joint:
        raise UsageError(f"-e takes NAME=VALUE, not {text!r}")
    return name, value


def _import_all(reference: Reference, platform: Platform, kind: str, world: World) -> None:
    from dpbuild.importing import import_all

    rows = import_all(reference, platform, kind, world)
    failed = [row for row in rows if row.problem]
    for row in rows:
        click.echo(f"{'failed' if row.problem else 'ok':<6}  {row.module} ({row.distribution})")
        if row.problem:
            click.echo(f"        {row.problem}")
    world.reporter.result(f"{len(rows) - len(failed)} of {len(rows)} modules can be imported")
    if failed:
        raise FindingsError(
            f"{len(failed)} of {len(rows)} modules cannot be imported: {', '.join(row.module for row in failed)}",
            where=str(reference),
            hint="dpbuild check says why and what to do about it",
        )
