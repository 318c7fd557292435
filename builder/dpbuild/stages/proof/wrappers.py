"""Programs that only start what they are given, as images use them for PID 1 and scripts in their first line."""

import shlex
from typing import Final

from dpbuild.frozen import frozen


@frozen
class _Options:
    """The options that take an argument of their own: letters, and long names."""

    letters: str = ""
    names: tuple[str, ...] = ()


_TINI: Final = _Options(letters="pe")
_KNOWN: Final = {
    "tini": _TINI,
    "tini-static": _TINI,
    "docker-init": _TINI,
    "dumb-init": _Options(letters="r", names=("--rewrite",)),
    "catatonit": _Options(),
    "env": _Options(letters="uC", names=("--unset", "--chdir")),
}


def is_wrapper(path: str) -> bool:
    """Whether the program at this path is one, by its name."""
    return path.rpartition("/")[2] in _KNOWN


def wrapped(path: str, arguments: list[str]) -> list[str] | None:
    """What the wrapper at ``path`` starts, with its arguments; None where that cannot be told: env may change PATH."""
    name = path.rpartition("/")[2]
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        split = _split(name, word, rest)
        if split is not None:
            if "\\" in split or "${" in split:
                return None
            try:
                rest = shlex.split(split) + rest
            except ValueError:
                return None
        elif _takes_next(_KNOWN[name], word):
            rest[:1] = []
    while name == "env" and rest and "=" in rest[0]:
        if rest.pop(0).startswith("PATH="):
            return None
    return rest


def _split(name: str, word: str, rest: list[str]) -> str | None:
    """What ``env -S`` is to split, which it takes from ``rest`` if it is a word of its own; None without -S."""
    if name != "env":
        return None
    if word.startswith("--split-string="):
        return word.partition("=")[2]
    if word == "--split-string":
        return rest.pop(0) if rest else ""
    before, found, after = word.partition("S")
    if word.startswith("--") or not found or any(letter in before for letter in _KNOWN["env"].letters):
        return None
    # The kernel gives all that follows the interpreter in a first line as one word: "-S python3 -u".
    return after or (rest.pop(0) if rest else "")


def _takes_next(options: _Options, word: str) -> bool:
    """Whether the next word belongs to this option."""
    if word.startswith("--"):
        return word in options.names
    at = next((at for at, letter in enumerate(word) if at and letter in options.letters), 0)
    return bool(at) and at == len(word) - 1
