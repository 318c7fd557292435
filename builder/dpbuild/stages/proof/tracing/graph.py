"""Which modules an import may have to do with: a rough graph of imports, from a search through the sources.

It has every import that a module might ever do. Parsing takes fifty times as long, so only what leads to something
that may fail is parsed and followed.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_IMPORT: Final = re.compile(
    rb"^[ \t]*(?:from[ \t]+(?P<base>[.\w]+)[ \t]+import[ \t]+(?P<names>\([^)]{0,20000}\)|[^\n]*)"
    rb"|import[ \t]+(?P<plain>[^\n]*))"
    rb"|(?:import_module|__import__)\(\s*[\"'](?P<dynamic>[.\w]+)",
    re.MULTILINE,
)
# What decides by constants is small; large modules beside the way cost more than they tell.
_LARGEST_BESIDE: Final = 16 << 10
_NAME: Final = re.compile(rb"[.\w]+")


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a module, which may be a package."""

    text: bytes
    package: bool


def relevant(sources: Mapping[str, Source], roots: Iterable[str], targets: Iterable[str]) -> frozenset[str]:
    """The modules on the ways from ``roots`` to ``targets``, and what those import directly, by whose constants they
    decide. ``sources`` are the modules by name.
    """
    # Extension modules have no source; one that has its package's own name is reached by ways of the package's own.
    ends = {name.rpartition(".")[0] if _is_namesake(name) else name for name in targets}
    every = sources.keys() | ends
    imports = {name: frozenset(_imports(name, row, every)) for name, row in sources.items()}
    forward = _closure(roots, imports)
    importers: dict[str, set[str]] = {}
    for name, rows in imports.items():
        for row in rows:
            importers.setdefault(row, set()).add(name)
    ways = forward & _closure(ends & forward, importers)
    beside = {row for name in ways for row in imports.get(name, ()) if row in sources}
    return frozenset(ways | {row for row in beside if len(sources[row].text) <= _LARGEST_BESIDE})


def _is_namesake(name: str) -> bool:
    parts = name.split(".")
    return len(parts) > 1 and parts[-1] == parts[-2]


def importers(sources: Mapping[str, Source], target: str) -> list[str]:
    """The modules that import ``target`` before anything else, not under a condition; those with short names first."""
    found = []
    for name, row in sources.items():
        if target.rpartition(".")[2].encode() in row.text and target in _imports(name, row, {target}, plain=True):
            found.append(name)
    return sorted(found, key=lambda name: (len(name), name))


def _closure(starts: Iterable[str], following: Mapping[str, Iterable[str]]) -> set[str]:
    found: set[str] = set()
    pending = list(starts)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += following.get(name, ())
    return found


def _imports(name: str, source: Source, known: Collection[str], *, plain: bool = False) -> Iterator[str]:
    around = name.split(".") if source.package else name.split(".")[:-1]
    for match in _IMPORT.finditer(source.text):
        if plain and match[0].startswith((b" ", b"\t")):
            continue
        for row in _named(match, around):
            # The packages around a module are there before it, whatever it says.
            if row in known and not f"{name}.".startswith(f"{row}."):
                yield row


def _named(match: re.Match[bytes], around: list[str]) -> Iterator[str]:
    if match["base"]:
        base = _absolute(match["base"].decode("utf-8", "replace"), around)
        yield from _with_parents(base)
        for row in _NAME.findall(match["names"]):
            yield f"{base}.{row.decode('utf-8', 'replace')}"
    elif match["plain"]:
        for part in match["plain"].split(b","):
            words = _NAME.findall(part)
            if words:
                yield from _with_parents(words[0].decode("utf-8", "replace"))
    elif match["dynamic"]:
        yield from _with_parents(_absolute(match["dynamic"].decode("utf-8", "replace"), around))


def _absolute(name: str, around: list[str]) -> str:
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    base = around[: len(around) - level + 1]
    return ".".join([*base, *([name[level:]] if name[level:] else [])])


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        yield ".".join(parts[:end])
