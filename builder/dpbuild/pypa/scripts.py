"""Console scripts, as in the PyPA specs "Entry points" and "Binary distribution format"."""

import re
from typing import Final

from dpbuild.frozen import frozen

_REFERENCE: Final = r"(?a)(?P<module>[\w.]+)\s*:\s*(?P<attribute>[\w.]+)\s*(?:\[[^\]]*\])?\s*"
_NAME: Final = r"[\w.+-]+(?: [\w.+-]+)*"


@frozen
class Script:
    """A script to be written: ``module`` and the ``attribute`` in it that is called."""

    name: str
    module: str
    attribute: str


def entry_points(text: str) -> tuple[Script, ...]:
    """The console and GUI scripts in an ``entry_points.txt``, sorted. Raises ValueError."""
    import configparser

    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(text)
    except configparser.Error as problem:
        raise ValueError(f"entry_points.txt is malformed: {problem}".splitlines()[0]) from None
    found = {}
    for section in ("console_scripts", "gui_scripts"):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            match = re.fullmatch(_REFERENCE, value.strip())
            if match is None:
                raise ValueError(f"entry_points.txt: {name} = {value} is not module:attribute")
            if not re.fullmatch(_NAME, name) or name in (".", ".."):
                raise ValueError(f"entry_points.txt has a script name that is no file name: {name!r}")
            found[name] = Script(name=name, module=match["module"], attribute=match["attribute"])
    return tuple(found[name] for name in sorted(found))


def text(script: Script, interpreter: str) -> bytes:
    """The script's file: ``interpreter`` is an absolute path in the image."""
    first, _, _ = script.attribute.partition(".")
    return (
        f"#!{interpreter}\n"
        "import sys\n"
        f"from {script.module} import {first}\n"
        'if __name__ == "__main__":\n'
        f"    sys.exit({script.attribute}())\n"
    ).encode()


def with_shebang(data: bytes, interpreter: str) -> bytes:
    """A script of a wheel with ``#!python`` or ``#!pythonw`` in its first line replaced, as the spec says."""
    line, newline, rest = data.partition(b"\n")
    if line.startswith(b"#!python"):
        word, _, arguments = line[2:].strip().partition(b" ")
        if word in (b"python", b"pythonw"):
            tail = b" " + arguments.strip() if arguments.strip() else b""
            return b"#!" + interpreter.encode() + tail + newline + rest
    return data
