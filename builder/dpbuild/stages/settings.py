"""The keys of ``[tool.dpbuild]``: their types, their defaults, and everything that is wrong with them.

Nothing is read from disk here, and no problem stops the search for the next.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from dpbuild.model.config import DEFAULT_BASE, FileCopy
from dpbuild.oci.config import Healthcheck
from dpbuild.oci.descriptor import Pairs
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference, RegistryReference, parse, parse_registry

# Keys that have a meaning, but not in this version: refused rather than silently without effect.
NOT_YET = ("runtime-packages", "builder", "verify", "recipes", "check")

_NOUNS = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "a table",
}
# signal(7); engines take the names with SIG, or a number.
_SIGNAL = re.compile(r"SIG[A-Z0-9+-]+|[1-9][0-9]?")
_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp|sctp))?")
_VARIABLE = re.compile(r"[^=\0]+")


@dataclass(slots=True)
class Problems:
    """Collects what is wrong. ``text`` is the file that the keys stand in, ``prefix`` their table."""

    file: str = ""
    text: str = ""
    prefix: str = ""
    found: list[tuple[str, str]] = field(default_factory=list)

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


def read(values: Mapping[str, object], problems: Problems) -> dict[str, Any]:
    """The fields of ``Config`` that the given keys set. What is wrong goes to ``problems``."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if key in NOT_YET or (key == "compression" and value == "zstd"):
            shown = 'compression = "zstd"' if key == "compression" else key
            problems.add(key, f"{shown} is not supported by this version")
        elif key not in _KEYS:
            problems.add(key, f"unknown key {key!r}{_near(key, [*_KEYS, *NOT_YET])}")
        else:
            field_name, reader = _KEYS[key]
            read_value = reader(key, value, problems)
            if read_value is not None:
                out.update(read_value if field_name == "" else {field_name: read_value})
    if out.get("entrypoint") and out.get("script"):
        problems.add("script", "entrypoint and script exclude each other")
    return out


def defaults() -> dict[str, Any]:
    """What holds where nothing is configured and the dataclass has no default."""
    return {"base": parse(DEFAULT_BASE)}


def _near(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key.replace("_", "-").lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _wrong(key: str, value: object, expected: str, problems: Problems) -> None:
    noun = _NOUNS.get(type(value), f"a {type(value).__name__}")
    problems.add(key, f"{key} must be {expected}, not {noun}")


def _text(key: str, value: object, problems: Problems) -> str | None:
    if isinstance(value, str):
        if "\0" not in value:
            return value
        problems.add(key, f"{key} holds a NUL character")
        return None
    _wrong(key, value, "a string", problems)
    return None


def _flag(key: str, value: object, problems: Problems) -> bool | None:
    if isinstance(value, bool):
        return value
    _wrong(key, value, "true or false", problems)
    return None


def _texts(key: str, value: object, problems: Problems) -> tuple[str, ...] | None:
    if not isinstance(value, list | tuple):
        _wrong(key, value, "an array of strings", problems)
        return None
    rows = []
    for number, row in enumerate(value):
        if isinstance(row, str) and "\0" not in row:
            rows.append(row)
        else:
            _wrong(f"{key}[{number}]", row, "a string", problems)
    return tuple(rows)


def _pairs(key: str, value: object, problems: Problems) -> Pairs | None:
    if not isinstance(value, Mapping):
        _wrong(key, value, "a table of strings", problems)
        return None
    rows = []
    for name, text in cast("Mapping[str, object]", value).items():
        if not isinstance(text, str):
            _wrong(f"{key}.{name}", text, "a string", problems)
        elif not _VARIABLE.fullmatch(name) or "\0" in text:
            problems.add(key, f"{key}: {name!r} cannot be a name here")
        else:
            rows.append((name, text))
    return tuple(sorted(rows))


def _parsed(reader: Callable[[str], Any]) -> Callable[[str, object, Problems], Any]:
    def one(key: str, value: object, problems: Problems) -> Any:
        text = _text(key, value, problems)
        if text is None:
            return None
        try:
            return reader(text)
        except ValueError as error:
            problems.add(key, f"{key}: {error}")
            return None

    return one


def _each(reader: Callable[[str], Any]) -> Callable[[str, object, Problems], Any]:
    def every(key: str, value: object, problems: Problems) -> Any:
        rows = []
        for text in _texts(key, value, problems) or ():
            try:
                row = reader(text)
            except ValueError as error:
                problems.add(key, f"{key}: {error}")
                continue
            if row not in rows:
                rows.append(row)
        return tuple(rows)

    return every


def _base(text: str) -> Reference:
    return parse(text)


def _platform(text: str) -> Platform:
    platform = Platform.parse(text)
    if platform.os != "linux":
        raise ValueError(f"only Linux images are built, not {text!r}")
    return platform


def _tag(text: str) -> RegistryReference:
    tag = parse_registry(text.removeprefix("docker://"))
    if tag.digest is not None:
        raise ValueError(f"a tag cannot hold a digest: {text!r}")
    return tag


def _absolute(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError(f"must be an absolute path, not {text!r}")
    return text


def _signal(text: str) -> str:
    if text and not _SIGNAL.fullmatch(text):
        raise ValueError(f"not a signal: {text!r} (expected something like SIGTERM)")
    return text


def _group(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", text):
        raise ValueError(f"not a name: {text!r}")
    return re.sub(r"[-_.]+", "-", text).lower()


def _project_pattern(text: str) -> str:
    return text if text == ":all:" else _group(text)


def _expose(key: str, value: object, problems: Problems) -> tuple[str, ...] | None:
    if not isinstance(value, list | tuple):
        _wrong(key, value, "an array of ports", problems)
        return None
    rows = []
    for number, row in enumerate(value):
        if isinstance(row, bool) or not isinstance(row, int | str):
            _wrong(f"{key}[{number}]", row, 'a port such as 8000 or "8000/udp"', problems)
            continue
        found = _PORT.fullmatch(str(row))
        if not found or not 0 < int(found[1]) < 65536:
            problems.add(key, f'{key}: not a port: {row!r} (expected something like 8000 or "8000/udp")')
        else:
            rows.append(f"{int(found[1])}/{found[2] or 'tcp'}")
    return tuple(dict.fromkeys(rows))


def _files(key: str, value: object, problems: Problems) -> tuple[FileCopy, ...] | None:
    if not isinstance(value, list | tuple):
        _wrong(key, value, 'an array of tables like {from = "conf/", to = "/etc/acme/"}', problems)
        return None
    rows = []
    for number, row in enumerate(value):
        name = f"{key}[{number}]"
        if not isinstance(row, Mapping):
            _wrong(name, row, "a table with from and to", problems)
            continue
        for unknown in set(row) - {"from", "to"}:
            problems.add(key, f"{name}: unknown key {unknown!r}{_near(unknown, ('from', 'to'))}")
        source, target = row.get("from"), row.get("to")
        if not isinstance(source, str) or not isinstance(target, str) or not source:
            problems.add(key, f"{name} needs two strings, from and to")
        elif not target.startswith("/"):
            problems.add(key, f"{name}: to must be an absolute path, not {target!r}")
        else:
            rows.append(FileCopy(source=source, target=target))
    return tuple(rows)


def _healthcheck(key: str, value: object, problems: Problems) -> Healthcheck | None:
    test = _texts(key, value, problems)
    return Healthcheck(test=("CMD", *test)) if test else None


def _app(text: str) -> str:
    if text not in ("auto", "wheel", "copy", "none"):
        raise ValueError(f'must be "auto", "wheel", "copy" or "none", not {text!r}')
    return text


def _compression(text: str) -> str:
    if text != "gzip":
        raise ValueError(f'must be "gzip", not {text!r}')
    return text


def _debian(key: str, value: object, problems: Problems) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        _wrong(key, value, "a table", problems)
        return None
    fields = {"mirror": "debian_mirror", "security-mirror": "debian_security_mirror"}
    out = {}
    for name, row in cast("Mapping[str, object]", value).items():
        if name not in fields:
            problems.add(f"{key}.{name}", f"unknown key '{key}.{name}'{_near(name, fields)}")
        elif (text := _text(f"{key}.{name}", row, problems)) is not None:
            out[fields[name]] = text
    return out


def _no_field(reader: Callable[[str], str]) -> Callable[[str, object, Problems], dict[str, Any]]:
    def check(key: str, value: object, problems: Problems) -> dict[str, Any]:
        _parsed(reader)(key, value, problems)
        return {}

    return check


# Key: the field of Config ("" for several), and what reads it.
_KEYS: dict[str, tuple[str, Callable[[str, object, Problems], Any]]] = {
    "base": ("base", _parsed(_base)),
    "platforms": ("platforms", _each(_platform)),
    "tags": ("tags", _each(_tag)),
    "extras": ("extras", _each(_group)),
    "groups": ("groups", _each(_group)),
    "entrypoint": ("entrypoint", _texts),
    "script": ("script", _text),
    "cmd": ("cmd", _texts),
    "env": ("env", _pairs),
    "labels": ("labels", _pairs),
    "annotations": ("annotations", _pairs),
    "user": ("user", _text),
    "workdir": ("workdir", _parsed(_absolute)),
    "expose": ("expose", _expose),
    "volumes": ("volumes", _each(_absolute)),
    "stop-signal": ("stop_signal", _parsed(_signal)),
    "healthcheck": ("healthcheck", _healthcheck),
    "app": ("app", _parsed(_app)),
    "include": ("include", _texts),
    "exclude": ("exclude", _texts),
    "files": ("files", _files),
    "ca-certificates": ("ca_certificates", _texts),
    "bytecode": ("bytecode", _flag),
    "compression": ("", _no_field(_compression)),
    "find-links": ("find_links", _texts),
    "no-binary": ("no_binary", _each(_project_pattern)),
    "only-binary": ("only_binary", _each(_project_pattern)),
    "debian": ("", _debian),
}

KEYS = tuple(_KEYS)
