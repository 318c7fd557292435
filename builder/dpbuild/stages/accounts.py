"""Users and groups of an image, and which of them its config means."""

from collections.abc import Iterable
from typing import Final

from dpbuild.frozen import frozen
from dpbuild.model.surroundings import RunAs, User

_LARGEST: Final = (1 << 32) - 1


@frozen
class Group:
    """A row of group(5); ``members`` are names of users."""

    name: str
    gid: int
    members: tuple[str, ...] = ()


def users(passwd: str) -> tuple[User, ...]:
    """The rows of passwd(5), in its order; lines that are none are left out, what is missing at an end is ""."""
    return tuple(
        User(name=row[0], uid=int(row[2]), gid=int(row[3]), home=row[5], shell=row[6])
        for row in (_padded(row, 7) for row in _rows(passwd))
        if row[0] and _is_id(row[2]) and _is_id(row[3])
    )


def groups(group: str) -> tuple[Group, ...]:
    """The rows of group(5), in its order; lines that are none are left out."""
    return tuple(
        Group(name=row[0], gid=int(row[2]), members=tuple(name for name in row[3].split(",") if name))
        for row in (_padded(row, 4) for row in _rows(group))
        if row[0] and _is_id(row[2])
    )


def run_as(user: str, known: Iterable[User], named: Iterable[Group], *, home: str = "") -> RunAs:
    """What ``user``, ``uid``, ``user:group`` and their mixtures mean (OCI image spec, config.md, "User").

    A number that passwd does not list stays what it is, with group 0. ``home`` is the config's own HOME.
    Raises LookupError, naming the user or group that the image does not have.
    """
    name, _, group = user.partition(":")
    name = name or "0"
    row = next((row for row in known if name in (row.name, str(row.uid))), None)
    if row is None and not _is_id(name):
        raise LookupError(f"user {name!r}")
    gid = row.gid if row else 0
    if _is_id(group):
        gid = int(group)
    elif group:
        found = next((each for each in named if each.name == group), None)
        if found is None:
            raise LookupError(f"group {group!r}")
        gid = found.gid
    return RunAs(
        uid=row.uid if row else int(name),
        gid=gid,
        name=row.name if row else "",
        home=home or (row.home if row else "") or "/",
    )


def _rows(text: str) -> list[list[str]]:
    return [line.split(":") for line in text.splitlines() if not line.startswith("#")]


def _padded(row: list[str], length: int) -> list[str]:
    return row + [""] * (length - len(row))


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= _LARGEST
