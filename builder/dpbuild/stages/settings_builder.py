"""The keys of ``[tool.dpbuild.builder]``."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from dpbuild.model.config import BuilderConfig
from dpbuild.oci.reference import parse
from dpbuild.stages.problems import Problems, parsed, read_flag, read_pairs, read_text, wrong
from dpbuild.stages.recipes import read_packages

_TIME: Final = r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?"
_SIZE: Final = r"(?i)(\d+)([kmg]?)b?"
_UNITS: Final = {"": 0, "k": 10, "m": 20, "g": 30}
_SMALLEST: Final = 64 << 20


def read(key: str, value: object, problems: Problems) -> BuilderConfig | None:
    """The table as a value; what is wrong goes to ``problems``."""
    if not isinstance(value, Mapping):
        wrong(key, value, "a table", problems)
        return None
    out: dict[str, Any] = {}
    for name, row in cast("Mapping[str, object]", value).items():
        if name not in _KEYS:
            problems.unknown(f"{key}.{name}", _KEYS)
        elif (found := _KEYS[name](f"{key}.{name}", row, problems)) is not None:
            out[name] = found
    return BuilderConfig(**out)


def _image(text: str) -> str:
    if text:
        parse(text)
    return text


def _timeout(key: str, value: object, problems: Problems) -> int | None:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    match = re.fullmatch(_TIME, text) if isinstance(text, str) and text else None
    seconds = (
        sum(int(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
    )
    if seconds <= 0:
        problems.add(key, f'{key} must be a time such as "30m", "1h30m" or 90 (seconds), not {value!r}')
        return None
    return seconds


def _memory(key: str, value: object, problems: Problems) -> int | None:
    if value == "":
        return 0
    text = read_text(key, value, problems)
    match = re.fullmatch(_SIZE, text) if text is not None else None
    if text is None:
        return None
    size = int(match[1]) << _UNITS[match[2].lower()] if match else 0
    if size < _SMALLEST:
        problems.add(key, f'{key} must be a size of 64m or more such as "2g", not {text!r}')
        return None
    return size


_KEYS: Final[Mapping[str, Callable[[str, object, Problems], Any]]] = {
    "image": parsed(_image),
    "packages": read_packages,
    "resolve": read_flag,
    "network": read_flag,
    "repair": read_flag,
    "env": read_pairs,
    "timeout": _timeout,
    "memory": _memory,
}
