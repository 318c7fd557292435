"""What is wrong with a table of TOML: collected with file and line, all of it at once; and values by their types."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from dpbuild.oci.descriptor import Pairs

_NOUNS = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "a table",
}
_VARIABLE = r"[^=\0]+"


class Problems:
    """Collects what is wrong. ``text`` is the file that the keys stand in, ``prefix`` their table."""

    def __init__(self, file: str = "", text: str = "", prefix: str = "") -> None:
        self.file = file
        self.text = text
        self.prefix = prefix
        self.found: list[tuple[str, str]] = []
        self.hints: list[str] = []

    @property
    def hint(self) -> str | None:
        """What to do about all of it, as far as the problems do not say so themselves."""
        return "; ".join(dict.fromkeys(self.hints)) or None

    def unknown(self, key: str, known: Iterable[str]) -> None:
        """Note that there is no such key (dotted below ``prefix``); ``known`` are those of its table."""
        table, _, name = key.rpartition(".")
        close = near(name, known := tuple(known))
        self.add(key, f"unknown key {key!r}{close}")
        if not close:
            self.hints.append(f"the keys{f' of {table}' if table else ''} are {', '.join(known)}")

    def add(self, key: str, what: str) -> None:
        """Note a problem with ``key`` (dotted below ``prefix``)."""
        self.found.append((self._where(key), what))

    def _where(self, key: str) -> str:
        if not self.file:
            return ""
        line = find_line(self.text, f"{self.prefix}.{key}" if self.prefix else key)
        return f"{self.file}:{line}" if line else self.file


def find_line(text: str, key: str) -> int:
    """The line (from 1) on which a dotted key stands in TOML text, or its nearest parent; 0 if unknown."""
    parts = re.sub(r"\[\d+\]", "", key).split(".")
    for length in range(len(parts), 0, -1):
        wanted = parts[:length]
        table: list[str] = []
        for number, line in enumerate(text.splitlines(), 1):
            if found := re.match(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$", line):
                table = _split(found[1])
                if table == wanted:
                    return number
            elif (found := re.match(r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'|\s*\.\s*)+?)\s*=", line)) and [
                *table,
                *_split(found[1]),
            ] == wanted:
                return number
    return 0


def _split(text: str) -> list[str]:
    return [part.strip().strip("\"'") for part in text.split(".")]


def near(key: str, known: Iterable[str]) -> str:
    """``; did you mean '…'?`` for a key that is close to one of ``known``, else ""."""
    import difflib

    found = difflib.get_close_matches(key.replace("_", "-").lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def wrong(key: str, value: object, expected: str, problems: Problems) -> None:
    """Note that a value is of another type than expected."""
    noun = _NOUNS.get(type(value), f"a {type(value).__name__}")
    problems.add(key, f"{key} must be {expected}, not {noun}")


def read_text(key: str, value: object, problems: Problems) -> str | None:
    """A string, or None for what is none."""
    if isinstance(value, str):
        if "\0" not in value:
            return value
        problems.add(key, f"{key} holds a NUL character")
        return None
    wrong(key, value, "a string", problems)
    return None


def read_flag(key: str, value: object, problems: Problems) -> bool | None:
    """True or false, or None for what is neither."""
    if isinstance(value, bool):
        return value
    wrong(key, value, "true or false", problems)
    return None


def read_texts(key: str, value: object, problems: Problems) -> tuple[str, ...] | None:
    """An array of strings, or None; what is no string in it is left out."""
    if not isinstance(value, list | tuple):
        wrong(key, value, "an array of strings", problems)
        return None
    rows = []
    for number, row in enumerate(value):
        if not isinstance(row, str):
            wrong(f"{key}[{number}]", row, "a string", problems)
        elif "\0" in row:
            problems.add(key, f"{key}[{number}] holds a NUL character")
        else:
            rows.append(row)
    return tuple(rows)


def read_pairs(key: str, value: object, problems: Problems) -> Pairs | None:
    """A table of strings as sorted pairs, or None; what is none in it is left out."""
    if not isinstance(value, Mapping):
        wrong(key, value, "a table of strings", problems)
        return None
    rows = []
    for name, text in cast("Mapping[str, object]", value).items():
        if not isinstance(text, str):
            wrong(f"{key}.{name}", text, "a string", problems)
        elif not re.fullmatch(_VARIABLE, name):
            problems.add(key, f"{key}: {name!r} cannot be a name here")
        elif "\0" in text:
            problems.add(key, f"{key}: the value of {name!r} holds a NUL character")
        else:
            rows.append((name, text))
    return tuple(sorted(rows))


def parsed(reader: Callable[[str], Any]) -> Callable[[str, object, Problems], Any]:
    """Reads a string with ``reader``, whose ValueError becomes a problem."""

    def one(key: str, value: object, problems: Problems) -> Any:
        text = read_text(key, value, problems)
        if text is None:
            return None
        try:
            return reader(text)
        except ValueError as error:
            problems.add(key, f"{key}: {error}")
            return None

    return one


def each(reader: Callable[[str], Any]) -> Callable[[str, object, Problems], Any]:
    """Reads an array of strings with ``reader``, each value once."""

    def every(key: str, value: object, problems: Problems) -> Any:
        rows = []
        for text in read_texts(key, value, problems) or ():
            try:
                row = reader(text)
            except ValueError as error:
                problems.add(key, f"{key}: {error}")
                continue
            if row not in rows:
                rows.append(row)
        return tuple(rows)

    return every
