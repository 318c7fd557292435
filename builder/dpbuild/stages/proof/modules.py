"""The modules that distributions bring: what ``import`` can name at the top level."""

from collections.abc import Iterable, Iterator

from dpbuild.model.facts import Facts


def top_level(site: str, files: Iterable[str], facts: Facts) -> tuple[str, ...]:
    """The top-level modules and packages of a distribution with these files in the folder ``site``, sorted.

    A folder counts if a module lies in it, at whatever depth (PEP 420 needs no ``__init__``).
    """
    return tuple(sorted(set(_names(site, files, facts.extension_suffixes))))


def _names(site: str, files: Iterable[str], suffixes: tuple[str, ...]) -> Iterator[str]:
    for path in files:
        if not path.startswith(f"{site}/"):
            continue
        first, *rest = path[len(site) + 1 :].split("/")
        name = _module((rest or [first])[-1], suffixes)
        if name and not rest and name.isidentifier():
            yield name
        elif name and rest and first.isidentifier() and first != "__pycache__":
            yield first


def _module(name: str, suffixes: tuple[str, ...]) -> str:
    """The module that a file of this name is; "" if it is none."""
    for suffix in (".py", *suffixes):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return ""
