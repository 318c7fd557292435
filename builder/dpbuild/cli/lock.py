"""``dpbuild lock``."""

from pathlib import Path
from typing import Any

import click

from dpbuild.cli import options


@click.command("lock")
@click.argument("path", type=click.Path(path_type=Path), default=".")
@click.option(
    "--check",
    is_flag=True,
    envvar="DPBUILD_CHECK",
    help="Say by the exit code (42) whether the lock is stale; write nothing.",
)
@click.option("--upgrade", is_flag=True, envvar="DPBUILD_UPGRADE", help="Take the newest version of every package.")
@click.option(
    "--upgrade-package",
    "upgrade_packages",
    multiple=True,
    envvar="DPBUILD_UPGRADE_PACKAGE",
    metavar="NAME",
    help="Take the newest version of this package; repeat.",
)
@click.option("--upgrade-base", is_flag=True, envvar="DPBUILD_UPGRADE_BASE", help="Take what the base's tag names now.")
@click.option(
    "--resolver",
    type=click.Choice(["uv", "pip-tools"]),
    default=None,
    envvar="DPBUILD_RESOLVER",
    help="pip-tools resolves in the builder, with the base's own interpreter. Default: what made the lock, else uv;"
    " with resolve = true of the configuration pip-tools.",
)
@options.builder
@options.platforms
@options.base
@options.common
def command(path: Path, **given: Any) -> None:
    """Write pylock.dpbuild.toml for the project in PATH (default: this folder).

    Versions and the base's digest stay as they are locked unless they are upgraded. What changed goes to
    stdout, one line for each package.
    """
    from dpbuild.locking import LockOptions, lock

    if given["check"] and (given["upgrade"] or given["upgrade_packages"] or given["upgrade_base"]):
        raise click.UsageError("--check writes nothing, so it cannot upgrade")
    world = options.world(**given)
    flags: dict[str, object] = {}
    if given["platform"]:
        flags["platforms"] = [*options.split(given["platform"])]
    if given["base"]:
        flags["base"] = given["base"]
    changes = lock(
        world.project(options.directory(path)),
        flags,
        LockOptions(
            check=given["check"],
            upgrade=given["upgrade"],
            upgrade_packages=options.split(given["upgrade_packages"]),
            upgrade_base=given["upgrade_base"],
            builder=given["builder"],
            resolver=given["resolver"] or "",
        ),
        world,
    )
    for line in changes:
        click.echo(line)
