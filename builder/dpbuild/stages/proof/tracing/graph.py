"""Which modules an import may have to do with: a rough graph of imports, from a search through the sources.

It has every import that a module might ever do. Parsing takes fifty times as long, so only what leads to something
that may fail is parsed and followed.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from dpbuild.frozen import frozen

_IMPORT: Final = re.compile(
    rb"^[ \t]*(?:from[ \t]+(?P<base>[.\w]+)[ \t]+import[ \t]+(?P<names>\([^)]{0,20000}\)|[^\n]*)"
    rb"|import[ \t]+(?P<plain>[^\n]*))",
    re.MULTILINE,
)
_DYNAMIC: Final = re.compile(rb"(?:import_module|__import__)\(\s*[\"'](?P<name>[.\w]+)")
# What decides by constants is small; large modules beside the way cost more than they tell.
_LARGEST_BESIDE: Final = 16 << 10
_NAME: Final = re.compile(rb"[.\w]+")


@frozen(kw_only=False)
class Source:
    """The text of a module, which may be a package."""

    text: bytes
    package: bool


class Graph:
    """Which module of ``sources``, by name, may import which; each is searched when something asks for it, once."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self._imports: dict[str, frozenset[str]] = {}

    def relevant(self, roots: Iterable[str], targets: Iterable[str]) -> frozenset[str]:
        """The modules on the ways from ``roots`` to ``targets``, and what those import directly, by whose constants
        they decide.
        """
        # Extension modules have no source; one that has its package's own name is reached by ways of the package's own.
        ends = {name.rpartition(".")[0] if _is_namesake(name) else name for name in targets}
        sources = self._sources
        forward = _closure(roots, lambda name: [row for row in self.imports(name) if row in sources or row in ends])
        importing: dict[str, list[str]] = {}
        for name in forward:
            for row in self.imports(name) & forward:
                importing.setdefault(row, []).append(name)
        ways = forward & _closure(ends & forward, lambda name: importing.get(name, ()))
        beside = {row for name in ways for row in self.imports(name) if row in sources}
        return frozenset(ways | {row for row in beside if len(sources[row].text) <= _LARGEST_BESIDE})

    def imports(self, name: str) -> frozenset[str]:
        """Whatever a module may import, and the packages around that; nothing for a module without a source."""
        found = self._imports.get(name)
        if found is None:
            source = self._sources.get(name)
            found = self._imports[name] = frozenset(_imports(name, source)) if source is not None else frozenset()
        return found

    def importers(self, target: str) -> list[str]:
        """The modules that import ``target`` before anything else, not under a condition; those with short names
        first.
        """
        word = target.rpartition(".")[2].encode()
        found = [
            name
            for name, row in self._sources.items()
            if word in row.text and target in _imports(name, row, plain=True)
        ]
        return sorted(found, key=lambda name: (len(name), name))


def _is_namesake(name: str) -> bool:
    parts = name.split(".")
    return len(parts) > 1 and parts[-1] == parts[-2]


def _closure(starts: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    found: set[str] = set()
    pending = list(starts)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += following(name)
    return found


def _imports(name: str, source: Source, *, plain: bool = False) -> Iterator[str]:
    around = name.split(".") if source.package else name.split(".")[:-1]
    # The packages around a module are there before it, whatever it says.
    there = {name, *_with_parents(name)}
    for match in _IMPORT.finditer(source.text):
        if not (plain and match[0].startswith((b" ", b"\t"))):
            yield from (row for row in _named(match, around) if row not in there)
    if b"import_module" in source.text or b"__import__" in source.text:
        for match in _DYNAMIC.finditer(source.text):
            dynamic = _absolute(match["name"].decode("utf-8", "replace"), around)
            yield from (row for row in _with_parents(dynamic) if row not in there)


def _named(match: re.Match[bytes], around: list[str]) -> Iterator[str]:
    if match["base"]:
        base = _absolute(match["base"].decode("utf-8", "replace"), around)
        yield from _with_parents(base)
        for row in _NAME.findall(match["names"]):
            yield f"{base}.{row.decode('utf-8', 'replace')}"
    else:
        for part in match["plain"].split(b","):
            words = _NAME.findall(part)
            if words:
                yield from _with_parents(words[0].decode("utf-8", "replace"))


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
