"""INT: whether the interpreter starts, and with what it is told to."""

from collections.abc import Iterator
from typing import Final

from dpbuild.model.finding import Severity
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject

# Options of the interpreter that take an argument of their own (python --help).
_WITH_ARGUMENT: Final = frozenset("WX")
_ENDS: Final = frozenset("cm")


def script(arguments: tuple[str, ...]) -> str:
    """The script among the interpreter's arguments; "" where there is none (``-m``, ``-c``, nothing)."""
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            return "" if word == "-" else word
        if word == "--":
            return rest[0] if rest else ""
        if word == "--check-hash-based-pycs":
            rest[:1] = []
            continue
        if word.startswith("--"):
            continue
        for position, letter in enumerate(word[1:], 1):
            if letter in _ENDS:
                return ""
            if letter in _WITH_ARGUMENT:
                if position == len(word) - 1:
                    rest[:1] = []
                break
    return ""


def _no_python(subject: Subject) -> Iterator[Found]:
    if subject.facts is None:
        yield Found(path=subject.program or "Entrypoint", evidence=subject.trouble)


def _program_as_script(subject: Subject) -> Iterator[Found]:
    if not subject.starts_python:
        return
    name = script(subject.argv[1:])
    path = name if name.startswith("/") else f"{subject.working_dir}/{name}"
    elf = subject.scan(path).elf if name else None
    if elf is None:
        return
    yield Found(
        path=subject.real(path) or path,
        evidence=f"argv is {' '.join(subject.argv)}: the interpreter {subject.program} would read the program"
        f" {name} ({elf.machine} ELF) as Python source",
    )


RULES: Final = (
    Rule(
        id="INT001",
        severity=Severity.ERROR,
        title="no interpreter can be told from the files",
        symptom="the container does not start, or starts something else than Python",
        why="Neither Entrypoint, Cmd, PATH nor the usual places lead to a Python that is complete: an"
        " executable, its loader, its C library and its standard library.",
        fix="use a base with Python in it, and leave its files as they are",
        look=_no_python,
    ),
    Rule(
        id="INT002",
        severity=Severity.ERROR,
        title="a program is given to Python as a script",
        symptom="SyntaxError: Non-UTF-8 code starting with '\\x94' in file /usr/bin/python3 (3.11);"
        " SyntaxError: source code cannot contain null bytes (3.13)",
        why="The base's Entrypoint is already the interpreter, and Cmd is what it gets as arguments. A Cmd that"
        " begins with the interpreter makes Python read its own executable as source text. The versions and the"
        " ABI have nothing to do with it.",
        fix='leave the interpreter out of Cmd (CMD ["/app/main.py"]), or set Entrypoint yourself',
        look=_program_as_script,
    ),
)
