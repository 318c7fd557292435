"""Headers of core metadata and WHEEL files (PyPA specs, "Core metadata specifications", "Binary distribution format").

The specs say that it is what Python's email package reads. Importing that takes longer than all reading, so it is read
here, in the same way.
"""

import re
from collections.abc import Iterator
from typing import Final

# RFC 822, 3.1.2: the name of a field, and as email has it lines that go on, and an envelope's first line.
_LINE: Final = re.compile(r"From |[!-9;-~]*:|[\t ]")


class Headers:
    """Values by the names of fields, in whichever case: without blanks around them, with the breaks inside."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in _fields(text):
            self._values.setdefault(name.lower(), []).append(value.strip())

    def first(self, name: str) -> str:
        """The value of the first field of this name; "" without one."""
        return next(iter(self.every(name)), "")

    def every(self, name: str) -> tuple[str, ...]:
        """The values of all fields of this name."""
        return tuple(self._values.get(name.lower(), ()))


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Names and values up to the first line that is no header, which most often is empty."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    name = value = ""
    for line in text.partition("\n\n")[0].split("\n"):
        if not _LINE.match(line):
            break
        if line[0] in "\t ":
            value += f"\n{line}"
            continue
        if name:
            yield name, value
        # An envelope is no field.
        name, _, value = ("", "", "") if line.startswith("From ") else line.partition(":")
    if name:
        yield name, value
