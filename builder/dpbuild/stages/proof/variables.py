"""Values of Python's own variables and of -X at which it ends before it runs a line (preconfig.c, initconfig.c)."""

import codecs
import re
from collections.abc import Callable
from typing import Final

_ALLOCATORS: Final = frozenset(("default", "debug", "malloc", "malloc_debug", "pymalloc", "pymalloc_debug"))
_NEWER_ALLOCATORS: Final = frozenset(("mimalloc", "mimalloc_debug"))
_LARGEST_SEED: Final = (1 << 32) - 1
_LEAST_DIGITS: Final = 640
_MOST_FRAMES: Final = (1 << 16) - 1
# The version that has these, as the second number.
_SINCE: Final = {"PYTHONINTMAXSTRDIGITS": 11, "PYTHON_CPU_COUNT": 13, "PYTHON_GIL": 13}


def refused(name: str, value: str, minor: int, has_codec: Callable[[str], bool], *, gil_disabled: bool) -> str:
    """What Python 3.``minor`` wants of the variable instead of ``value``; "" where it starts.

    ``has_codec`` says whether a module of this name is in the image's ``encodings``, ``gil_disabled`` which build of
    Python it is.
    """
    if not value or minor < _SINCE.get(name, 0):
        return ""
    number = int(value) if re.fullmatch(r"[ \t\n\v\f\r]*[+-]?[0-9]{1,18}", value, re.A) else None
    # Which allocators a build without the GIL has is its own affair.
    allocators = _ALLOCATORS | (_NEWER_ALLOCATORS if minor >= 13 else frozenset())
    fine, wanted = {
        "PYTHONUTF8": (value in ("0", "1"), "0 or 1"),
        "PYTHONHASHSEED": (
            value == "random" or (number is not None and 0 <= number <= _LARGEST_SEED),
            f"random, or a number up to {_LARGEST_SEED}",
        ),
        "PYTHONIOENCODING": (_is_encoding(value.partition(":")[0], has_codec), "an encoding of text that it knows"),
        "PYTHONMALLOC": (value in allocators or gil_disabled, f"one of {', '.join(sorted(allocators))}"),
        "PYTHONINTMAXSTRDIGITS": (
            number == 0 or (number is not None and number >= _LEAST_DIGITS),
            f"0, or a number from {_LEAST_DIGITS} on",
        ),
        "PYTHONTRACEMALLOC": (
            number is not None and 0 <= number <= _MOST_FRAMES,
            f"a number of frames up to {_MOST_FRAMES}",
        ),
        "PYTHON_CPU_COUNT": (
            value == "default" or (number is not None and number > 0),
            "default, or a number from 1 on",
        ),
        "PYTHON_GIL": (value == "1" or (value == "0" and gil_disabled), "0 or 1" if gil_disabled else "1"),
    }[name]
    return "" if fine else wanted


NAMES: Final = (
    "PYTHONUTF8",
    "PYTHONHASHSEED",
    "PYTHONIOENCODING",
    "PYTHONMALLOC",
    "PYTHONINTMAXSTRDIGITS",
    "PYTHONTRACEMALLOC",
    "PYTHON_CPU_COUNT",
    "PYTHON_GIL",
)


# Options of -X that say the same as a variable.
_SAME: Final = {
    "utf8": "PYTHONUTF8",
    "tracemalloc": "PYTHONTRACEMALLOC",
    "int_max_str_digits": "PYTHONINTMAXSTRDIGITS",
    "cpu_count": "PYTHON_CPU_COUNT",
    "gil": "PYTHON_GIL",
}
# Those that need no value.
_BARE: Final = frozenset(("utf8", "tracemalloc"))
_FROZEN: Final = frozenset(("on", "off"))
_FROZEN_SINCE: Final = 11


def refused_option(option: str, minor: int, *, gil_disabled: bool) -> str:
    """What Python 3.``minor`` wants of a value of -X instead of ``option`` (``name`` or ``name=value``); "" where it
    starts. Names that it does not know are none of its business.
    """
    name, equals, value = option.partition("=")
    if name == "frozen_modules":
        return "on or off" if value and value not in _FROZEN and minor >= _FROZEN_SINCE else ""
    variable = _SAME.get(name, "")
    if not variable or (not value and ((not equals and name in _BARE) or (equals and name != "utf8"))):
        return ""
    # A value that is missing is refused as a wrong one is.
    return refused(variable, value or "?", minor, lambda _: False, gil_disabled=gil_disabled)


def _is_encoding(name: str, has_codec: Callable[[str], bool]) -> bool:
    """Whether it may be one: the image's own modules count, and what this Python knows by other names."""
    if not name:
        return True
    try:
        found = codecs.lookup(name)
    except LookupError:
        return has_codec(re.sub(r"[^a-z0-9.]+", "_", name.lower()))
    return bool(getattr(found, "_is_text_encoding", True))
