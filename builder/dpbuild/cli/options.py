"""Options that several verbs share. Every one has its ``DPBUILD_…`` twin in the environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from dpbuild.cli.values import directory, image, opened, paths, split

if TYPE_CHECKING:
    from dpbuild.wiring import World

__all__ = [
    "base", "builder", "cache", "common", "directory", "image", "loudness", "outputs", "paths", "platforms", "split",
    "world",
]  # fmt: skip

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


def trust_config(function: F) -> F:
    """``--trust-config``."""
    option = click.option(
        "--trust-config",
        type=click.Path(dir_okay=False),
        envvar="DPBUILD_TRUST_CONFIG",
        metavar="FILE",
        help="The Sigstore to use and to trust (ClientTrustConfig, JSON).  [default: the public one]",
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


def world(**options: Any) -> World:
    """The world, as the common options want it; what else they say is noted for ``main``."""
    context = click.get_current_context(silent=True)
    if context is not None and isinstance(context.obj, dict):
        context.obj["verbose"] = options["verbose"]
    made = opened(options)
    if context is not None:
        context.call_on_close(made.close)
    return made
