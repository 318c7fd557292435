"""Versions of Debian packages (Debian Policy, 5.6.12 "Version")."""

import re
from typing import Final

Key = tuple[int, tuple[object, ...], tuple[object, ...]]

_PART: Final = re.compile(r"([^0-9]*)([0-9]*)")
# What a part that has ended sorts as: after a tilde, before everything else.
_END: Final = 0
_TILDE: Final = -1
# Letters sort before all that is no letter.
_BEYOND_LETTERS: Final = 256


def key(version: str) -> Key:
    """A key that sorts versions as dpkg does; a missing revision or epoch counts as zero."""
    epoch, colon, rest = version.strip().partition(":")
    if not colon or not epoch.isdigit():
        epoch, rest = "0", version.strip()
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    return int(epoch), _sequence(upstream), _sequence(revision)


def compare(left: str, right: str) -> int:
    """Negative, zero or positive, as ``left`` is older than, equal to or newer than ``right``."""
    first, second = key(left), key(right)
    return (first > second) - (first < second)


def upstream(version: str) -> str:
    """The upstream version: without epoch and without revision."""
    rest = version.partition(":")[2] or version
    return rest.rpartition("-")[0] or rest


def without_epoch(version: str) -> str:
    """The version as file names in the pool have it."""
    return version.partition(":")[2] or version


def _sequence(text: str) -> tuple[object, ...]:
    """Pairs of a text part and a number, as Policy compares them, with an end that sorts as nothing does."""
    pairs: list[tuple[tuple[int, ...], int]] = []
    for letters, digits in _PART.findall(text):
        pairs.append(((*map(_weight, letters), _END), int(digits or "0")))
    nothing = ((_END,), 0)
    while pairs and pairs[-1] == nothing:
        pairs.pop()
    pairs.append(nothing)
    return tuple(pairs)


def _weight(character: str) -> int:
    if character == "~":
        return _TILDE
    return ord(character) if character.isalpha() else ord(character) + _BEYOND_LETTERS
