"""``.dockerignore``: patterns start at the top, name all that lies below, and the last that matches decides.

Docker docs, "Build context", section ".dockerignore files"; a pattern is one of Go's ``path/filepath.Match`` with
``**`` for any number of folders.
"""

import posixpath
import re
from collections.abc import Iterable


class DockerIgnore:
    """The patterns of one file."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for line in lines:
            text = line.strip()
            if not text or line.startswith("#"):
                continue
            out = not text.startswith("!")
            pattern = posixpath.normpath(text.removeprefix("!").strip()).lstrip("/")
            if pattern and pattern != ".":
                self._rules.append((out, _compiled(pattern)))

    def leaves_out(self, path: str) -> bool:
        """Whether the file at this path, relative to the top, is left out."""
        verdict = False
        for out, pattern in self._rules:
            if pattern.match(path):
                verdict = out
        return verdict


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = []
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        at += 1
        if sign == "*" and pattern.startswith("*", at):
            at += 1
            if pattern.startswith("/", at):
                at += 1
                parts.append("(?:.*/)?")
            else:
                parts.append(".*")
        elif sign == "*":
            parts.append("[^/]*")
        elif sign == "?":
            parts.append("[^/]")
        elif sign == "[" and (end := pattern.find("]", at + 1)) > 0:
            inner = pattern[at:end].replace("\\", "\\\\").replace("[", "\\[")
            parts.append(f"(?!/)[{inner}]")
            at = end + 1
        elif sign == "\\" and at < len(pattern):
            parts.append(re.escape(pattern[at]))
            at += 1
        else:
            parts.append(re.escape(sign))
    try:
        return re.compile("".join(parts) + r"(?:/.*)?\Z", re.DOTALL)
    except re.error:
        # A class that cannot be is a name like any other.
        return re.compile(re.escape(pattern) + r"(?:/.*)?\Z", re.DOTALL)
