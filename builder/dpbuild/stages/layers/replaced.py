"""Distributions that the base brings along and the lock has too: the locked one takes their place."""

from collections.abc import Callable, Iterable

from dpbuild.errors import LayerError
from dpbuild.model.base import Base


def replaced(base: Base, names: Iterable[str], read: Callable[[str], bytes]) -> tuple[tuple[str, frozenset[str]], ...]:
    """The base's files of every distribution in ``names`` (normalised) that it has in its site directory.

    ``read`` delivers a file of the base. Which files belong to a distribution is what its RECORD says.
    Raises LayerError if there is none.
    """
    wanted = set(names)
    site = base.facts.purelib.lstrip("/")
    found: dict[str, frozenset[str]] = {}
    for child in base.tree.children(site):
        stem, dot, suffix = child.rpartition("/")[2].rpartition(".")
        if not dot or suffix != "dist-info":
            continue
        name = _name(stem)
        if name not in wanted:
            continue
        path = f"{site}/{stem}.dist-info/RECORD"
        if base.tree.get(path) is None:
            raise LayerError(
                f"the base has {stem} in /{site} without a RECORD, so it cannot be replaced by the locked {name}",
                hint="leave it out of the requirements, or choose another base",
            )
        from dpbuild.pypa import record

        rows = record.parse(read(path).decode())
        paths = (base.tree.resolve(_join(site, row)) for row in rows)
        found[name] = frozenset(path for path in paths if path is not None) | {path}
    return tuple(sorted(found.items()))


def _name(stem: str) -> str:
    """The normalised name in that of a ``.dist-info`` folder."""
    from packaging.utils import canonicalize_name

    return canonicalize_name(stem.rpartition("-")[0])


def _join(site: str, path: str) -> str:
    parts = [] if path.startswith("/") else site.split("/")
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
