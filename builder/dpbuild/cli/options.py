"""Options that several verbs share. Every one has its ``DPBUILD_…`` twin in the environment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from dpbuild.errors import UsageError
from dpbuild.wiring import Settings, World

F = TypeVar("F", bound=Callable[..., Any])


_CACHE_DIR: Final = click.option(
    "--cache-dir",
    envvar="DPBUILD_CACHE_DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the store is.  [default: ~/.cache/dpbuild]",
)
_LOUDNESS: Final = (
    click.option("-q", "--quiet", is_flag=True, envvar="DPBUILD_QUIET", help="Show errors only."),
    click.option("-v", "--verbose", is_flag=True, envvar="DPBUILD_VERBOSE", help="Show tracebacks of errors."),
)


def cache(function: F) -> F:
    """``--cache-dir``, ``-q``, ``-v``: for what only looks after the store."""
    return _all(function, (_CACHE_DIR, *_LOUDNESS))


def loudness(function: F) -> F:
    """``-q``, ``-v``: for what needs no store."""
    return _all(function, _LOUDNESS)


def builder(function: F) -> F:
    """``--builder``."""
    option = click.option(
        "--builder",
        type=click.Choice(["auto", "docker", "podman", "bubblewrap", "none"]),
        default="auto",
        envvar="DPBUILD_BUILDER",
        help="What runs the base's interpreter where that is needed; none builds no sdist.",
    )
    return option(function)


def common(function: F) -> F:
    """``--cache-dir``, ``--offline``, ``--plain-http``, ``--progress``, ``-q``, ``-v``."""
    rows = (
        _CACHE_DIR,
        click.option("--offline", is_flag=True, envvar="DPBUILD_OFFLINE", help="Use only what is in the store."),
        click.option(
            "--plain-http", is_flag=True, envvar="DPBUILD_PLAIN_HTTP", help="Speak http to registries off loopback too."
        ),
        click.option(
            "--progress",
            type=click.Choice(["auto", "plain", "json", "none"]),
            default="auto",
            envvar="DPBUILD_PROGRESS",
            help="How progress is shown, on stderr.",
        ),
        *_LOUDNESS,
    )
    return _all(function, rows)


def _all(function: F, rows: tuple[Callable[[F], F], ...]) -> F:
    for row in reversed(rows):
        function = row(function)
    return function


def base(function: F) -> F:
    """``--base``."""
    return click.option(
        "--base", envvar="DPBUILD_BASE", metavar="REF", help="The base image, instead of the configured one."
    )(function)


def platforms(function: F) -> F:
    """``--platform``, repeated or with commas."""
    return click.option(
        "--platform",
        "platform",
        multiple=True,
        envvar="DPBUILD_PLATFORM",
        metavar="OS/ARCH",
        help="For which platform; repeat, or separate by commas.",
    )(function)


def outputs(function: F) -> F:
    """``-o``, repeated."""
    return click.option(
        "-o",
        "--output",
        "outputs",
        multiple=True,
        envvar="DPBUILD_OUTPUT",
        metavar="PATH",
        help="Write it: a folder becomes an OCI layout, *.tar an archive.",
    )(function)


def paths(values: tuple[str, ...]) -> tuple[str, ...]:
    """What ``-o`` names. Raises UsageError for what would be a folder with the name of an archive."""
    rows = tuple(part for value in values for part in value.split("\n") if part)
    for output in rows:
        if output.endswith((".tar.gz", ".tgz", ".tar.zst")):
            raise UsageError(f"an archive is not compressed as a whole: {output}", hint="name it *.tar")
    return rows


def split(values: tuple[str, ...]) -> tuple[str, ...]:
    """Repeated values and values with commas, as one list without repetitions."""
    return tuple(dict.fromkeys(part.strip() for value in values for part in value.split(",") if part.strip()))


def world(**options: Any) -> World:
    """The world, as the common options want it; what else they say is noted for ``main``."""
    context = click.get_current_context(silent=True)
    if context is not None and isinstance(context.obj, dict):
        context.obj["verbose"] = options["verbose"]
    made = World(
        Settings(
            cache_dir=options.get("cache_dir"),
            offline=options.get("offline", False),
            plain_http=options.get("plain_http", False),
            progress="none" if options["quiet"] else options.get("progress", "auto"),
        )
    )
    if context is not None:
        context.call_on_close(made.close)
    return made


def directory(path: Path) -> Path:
    """The project's folder, absolute. Raises UsageError."""
    if not path.is_dir():
        raise UsageError("there is no such folder", where=str(path), hint="name the project's folder")
    return path.resolve()
