"""``dpbuild base``."""

from typing import Any

import click

from dpbuild.cli import options
from dpbuild.errors import UsageError
from dpbuild.oci.platform import Platform


@click.group("base", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def command() -> None:
    """Bases of our own making."""


@command.command(short_help="Write a base made from Debian's packages.")
@click.argument("suite", metavar="SUITE[@TIMESTAMP][:VARIANT]")
@click.option(
    "-t", "--tag", "tags", multiple=True, envvar="DPBUILD_TAG", metavar="REF", help="A name for the base; repeat."
)
@click.option("--push", is_flag=True, envvar="DPBUILD_PUSH", help="Push it to the registries of its tags.")
@options.outputs
@options.platforms
@options.common
def compose(suite: str, **given: Any) -> None:
    """Write a distroless Python base made from Debian's own signed packages.

    SUITE is debian12 or debian13, VARIANT latest, nonroot, debug or debug-nonroot; with @TIMESTAMP (such as
    20260901T000000Z) from the mirror's snapshot of that moment. Several platforms make an index. One line goes to
    stdout: what was written, by digest, as every other verb takes it.
    """
    from dpbuild.composing import compose as write
    from dpbuild.oci.reference import ComposeReference, parse, parse_registry

    try:
        reference = parse(f"compose:{suite.removeprefix('compose:')}")
        tags = tuple(parse_registry(part) for value in given["tags"] for part in value.split())
        wanted = tuple(Platform.parse(text) for text in options.split(given["platform"]))
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    outputs = options.paths(given["outputs"])
    if given["push"] and not tags:
        raise UsageError("--push needs a tag", hint="name one with -t")
    if not given["push"] and not outputs:
        raise UsageError("nothing says where to write it", hint="-o PATH, or -t REF --push")
    world = options.world(**given)
    assert isinstance(reference, ComposeReference)  # noqa: S101 - parsed from compose:
    platforms = tuple(dict.fromkeys(wanted)) or (world.host,)
    written = write(reference, platforms, tags, world, push=given["push"], outputs=outputs)
    for row in written:
        names = f" as {', '.join(row.tags)}" if row.tags else ""
        world.reporter.result(f"{row.kind}: {row.descriptor.digest}{names}")
    click.echo(written[0].reference)
