"""``dpbuild cache``."""

import json
import re
from typing import Any, Final

import click

from dpbuild.cli import options
from dpbuild.errors import UsageError

# As in adapters/upkeep.py, which --help need not import; a test compares them.
KINDS: Final = ("bases", "wheels", "layers", "facts", "builders")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

_only = click.option(
    "--only",
    multiple=True,
    envvar="DPBUILD_ONLY",
    metavar="KIND",
    help=f"Of these kinds alone; repeat, or separate by commas: {', '.join(KINDS)}.",
)
_wait = click.option(
    "--no-wait",
    is_flag=True,
    envvar="DPBUILD_NO_WAIT",
    help="Fail (110) while another dpbuild uses the store, instead of waiting for its end.",
)


@click.group("cache", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def command() -> None:
    """What dpbuild keeps on this machine: where it is, how much it is, and removing it.

    \b
    bases     layers, manifests and configs of base images
    wheels    what came from package indexes, wheels built here, and the resolver's cache
    layers    layers made from wheels and apps
    facts     what was read out of bases
    builders  unpacked bases, and logs of builds that failed
    """


@command.command("dir")
@options.cache
def directory(**given: Any) -> None:
    """Print the store's folder."""
    click.echo(options.world(**given).cache)


@command.command()
@click.option("--json", "json_", is_flag=True, envvar="DPBUILD_JSON", help="Print JSON: entries and bytes by kind.")
@_only
@options.cache
def size(*, json_: bool, only: tuple[str, ...], **given: Any) -> None:
    """Print how much there is of each kind."""
    kinds = _kinds(only)
    rows = {kind: [0, 0] for kind in (*kinds, *(() if only else ("unfinished",)))}
    for entry in options.world(**given).upkeep.entries():
        if entry.kind in rows:
            rows[entry.kind][0] += 1
            rows[entry.kind][1] += entry.size
    if json_:
        click.echo(json.dumps({kind: {"entries": count, "bytes": total} for kind, (count, total) in rows.items()}))
        return
    for kind, (count, total) in (
        *rows.items(),
        ("total", [sum(column) for column in zip(*rows.values(), strict=True)]),
    ):
        click.echo(f"{kind:<10} {count:>7} entries {total / 1e6:>10.1f} MB")


@command.command(short_help="Remove what has not been used for a while.")
@click.option(
    "--older-than",
    default="30d",
    show_default=True,
    envvar="DPBUILD_OLDER_THAN",
    metavar="AGE",
    help="Remove what no run has needed for so long: a number and s, m, h, d or w.",
)
@click.option("--dry-run", is_flag=True, envvar="DPBUILD_DRY_RUN", help="Remove nothing; say what would go.")
@_only
@_wait
@options.cache
def prune(*, older_than: str, dry_run: bool, only: tuple[str, ...], no_wait: bool, **given: Any) -> None:
    """Remove what has not been used for a while, and what killed runs left behind."""
    upkeep = options.world(**given).upkeep
    removed = upkeep.prune(_age(older_than), _kinds(only), wait=not no_wait, dry_run=dry_run)
    _say("would be removed" if dry_run else "removed", removed.entries, removed.size)


@command.command()
@_only
@_wait
@options.cache
def clean(*, only: tuple[str, ...], no_wait: bool, **given: Any) -> None:
    """Remove everything, or everything of some kinds. What is needed again is fetched and made again."""
    removed = options.world(**given).upkeep.clean(_kinds(only), wait=not no_wait)
    _say("removed", removed.entries, removed.size)


def _say(verb: str, entries: int, total: int) -> None:
    click.echo(f"{verb}: {entries} {'entry' if entries == 1 else 'entries'}, {total / 1e6:.1f} MB")


def _kinds(only: tuple[str, ...]) -> tuple[str, ...]:
    chosen = options.split(only)
    unknown = [kind for kind in chosen if kind not in KINDS]
    if unknown:
        raise UsageError(f"--only: there is no kind {unknown[0]!r}", hint=f"one of: {', '.join(KINDS)}")
    return chosen or KINDS


def _age(text: str) -> float:
    """Seconds. Raises UsageError."""
    found = re.fullmatch(r"([0-9]{1,9})([smhdw])", text.strip())
    if not found:
        raise UsageError(f"--older-than: not an age: {text!r}", hint="a number and a unit, such as 12h, 30d or 8w")
    return float(int(found[1]) * _SECONDS[found[2]])
