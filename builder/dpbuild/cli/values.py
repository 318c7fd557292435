"""What options say, as the rest of the code wants it; click is not needed for that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dpbuild.errors import UsageError

if TYPE_CHECKING:
    from dpbuild.oci.reference import Reference
    from dpbuild.wiring import World

_FORMS: Final = (
    "an image is registry/repo:tag, docker-daemon:NAME, oci:FOLDER, oci-archive:FILE, docker-archive:FILE or"
    " compose:SUITE"
)


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


def opened(options: Mapping[str, Any]) -> World:
    """The world, as the common options want it; to be closed."""
    from dpbuild.wiring import Settings, World

    return World(
        Settings(
            cache_dir=options.get("cache_dir"),
            offline=options.get("offline", False),
            plain_http=options.get("plain_http", False),
            progress="none" if options["quiet"] else options.get("progress", "auto"),
        )
    )


def directory(path: Path) -> Path:
    """The project's folder, absolute. Raises UsageError."""
    if not path.is_dir():
        raise UsageError("there is no such folder", where=str(path), hint="name the project's folder")
    return path.resolve()


def image(text: str) -> Reference:
    """The image that an argument names. Raises UsageError, also where the name is that of an image's file or folder
    here: it would be looked for in a registry.
    """
    from dpbuild.adapters.source.nearby import kind_of, reference_of
    from dpbuild.oci.reference import RegistryReference, parse

    parsed, trouble = None, ""
    try:
        parsed = parse(text)
    except ValueError as problem:
        trouble = str(problem)
    else:
        if not isinstance(parsed, RegistryReference) or text.strip().startswith("docker://"):
            return parsed
    kind = kind_of(text)
    if kind and (meant := reference_of(text)):
        raise UsageError(f"{text} is a {kind} here, and such a name means an image in a registry", hint=f"say {meant}")
    if parsed is None:
        raise UsageError(f"{trouble}, a {kind} that is no image" if kind else trouble, hint=_FORMS)
    return parsed
