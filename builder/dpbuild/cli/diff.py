"""``dpbuild diff``."""

import json
from typing import Any

import click

from dpbuild.cli import options
from dpbuild.errors import OutputError, UsageError
from dpbuild.frozen import asdict
from dpbuild.oci.platform import Platform
from dpbuild.stages.compare import Comparison, FileChange, LayerChange, PackageChange, ValueChange

# Files are told one by one up to here; --json has all of them.
_MOST = 40


@click.command("diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--json", "json_", is_flag=True, envvar="DPBUILD_JSON", help="Print JSON, with every file.")
@click.option("--exit-code", is_flag=True, envvar="DPBUILD_EXIT_CODE", help="End with 80 if the images differ.")
@options.platforms
@options.common
def command(a: str, b: str, *, json_: bool, exit_code: bool, **given: Any) -> None:
    """Tell what differs between the images A and B: packages, files, config, layers, and why bytes differ.

    Nothing is run, and whoever made the images does not matter.
    """
    from dpbuild.comparing import diff

    world = options.world(**given)
    wanted = options.split(given["platform"])
    if len(wanted) > 1:
        raise UsageError("images are compared for one platform at a time", hint="give --platform once")
    try:
        one, other = options.image(a), options.image(b)
        platform = Platform.parse(wanted[0]) if wanted else world.host
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    left, right, found = diff(one, other, platform, world)
    if json_:
        digests = {"a": str(left.descriptor.digest), "b": str(right.descriptor.digest)}
        click.echo(json.dumps({**digests, "platform": str(platform), **asdict(found)}, indent=2))
    else:
        # Of what has other platforms as well, this one alone was compared.
        more = any(row.root.digest != row.descriptor.digest for row in (left, right))
        click.echo(render(found, str(platform) if more else ""))
    if exit_code and not found.same:
        raise OutputError(
            f"the images differ: {left.descriptor.digest} and {right.descriptor.digest}", where=str(platform)
        )


def render(found: Comparison, platform: str = "") -> str:
    """What differs, as a person reads it; ``platform`` is said where the images have others, too."""
    if found.same:
        return "the images are the same" + (f" for {platform}" if platform else "")
    lines: list[str] = []
    for title, rows in (
        ("packages", [_package(row) for row in found.packages]),
        ("config", [_value(row) for row in found.config]),
        ("annotations", [_value(row) for row in found.annotations]),
        ("files of no package", _files([row for row in found.files if not row.package])),
        ("files of packages", _files(_unexplained(found))),
        ("layers", [*map(_layer, found.layers), f"  {found.common_layers} layers are the same"]),
    ):
        if rows:
            lines += [title, *rows]
    return "\n".join(lines)


def _unexplained(found: Comparison) -> list[FileChange]:
    """Files of packages that are in both images with the same version, so that the version explains nothing."""
    same = {f"{row.kind}:{row.name}" for row in found.packages if row.state == "content"}
    return [row for row in found.files if row.package in same]


def _package(row: PackageChange) -> str:
    match row.state:
        case "added":
            return f"  + {row.name} {row.after}"
        case "removed":
            return f"  - {row.name} {row.before}"
        case "version":
            return f"  ~ {row.name} {row.before} -> {row.after}"
        case "content":
            return f"  ~ {row.name} {row.before}, other bytes: {row.why}"


def _value(row: ValueChange) -> str:
    return f"  ~ {row.name}: {row.before or '(none)'} -> {row.after or '(none)'}"


def _files(rows: list[FileChange]) -> list[str]:
    lines = []
    for row in rows[:_MOST]:
        sign = "+" if row.changes == ("added",) else "-" if row.changes == ("removed",) else "~"
        said = f" ({', '.join(row.changes)}: {row.before} -> {row.after})" if sign == "~" else ""
        lines.append(f"  {sign} {row.path}{said}")
    if len(rows) > _MOST:
        lines.append(f"  … and {len(rows) - _MOST} more (--json has all)")
    return lines


def _layer(row: LayerChange) -> str:
    same = f", the same content as {row.repacked}" if row.repacked else ""
    comment = f" {row.comment}" if row.comment else ""
    return f"  {'-' if row.side == 'a' else '+'} {row.digest} {row.size} bytes{comment}{same}"
