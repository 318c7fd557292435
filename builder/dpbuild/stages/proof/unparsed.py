"""RUN: sources of the app that Python cannot read.

They are read by the Python that runs this, which may be older or newer than the image's. What an older one does not
know is no fault; what came after the image's own is one.
"""

import posixpath
import re
import sys
from collections.abc import Iterator
from typing import Final

from dpbuild.frozen import frozen
from dpbuild.model.finding import Severity
from dpbuild.stages import syntax
from dpbuild.stages.proof.app import executed, find_app
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject

_HOST: Final = sys.version_info[1]
# What Pythons after 3.11, the oldest that runs this, read and older ones do not: PEP 695, 701, 750, 758.
_NEWER: Final = re.compile(
    rb"^\s*type\s+\w|\b(?:def|class)\s+\w+\s*\[|\b(?:[fFtT][rR]?|[rR][fFtT])['\"]|^\s*except\b[^(\n]*,", re.M
)
# Where a fault may begin before the line that it is told at, in lines.
_NEAR: Final = 20
# Python 3.12 was the first that refuses them in scripts, too.
_NO_NULLS: Final = 12


@frozen
class Trouble:
    """What is wrong with a source; ``line`` counts from 1. It is not ``sure`` where a newer Python may read it."""

    line: int
    text: str
    sure: bool = True

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


def trouble(data: bytes, minor: int) -> Trouble | None:
    """Why Python 3.``minor`` cannot compile a source; None where nothing is wrong with it, or that cannot be told."""
    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        line = data[: data.index(b"\0")].count(b"\n") + 1
        return Trouble(line=line, text="it contains null bytes", sure=minor >= _NO_NULLS)
    try:
        syntax.compile_only(data)
        if minor < _HOST:
            syntax.parse(data, minor)
    except syntax.TROUBLES as problem:
        line, text = getattr(problem, "lineno", None) or 1, getattr(problem, "msg", None) or str(problem)
        return Trouble(line=line, text=text, sure=minor <= _HOST or _is_old(data, line, text))
    except syntax.LIMITS:
        pass
    return None


def _is_old(data: bytes, line: int, text: str) -> bool:
    """Whether a newer Python finds the same fault: nothing near it is written as only newer ones read it."""
    try:
        syntax.parse(data)
        return True  # it is wrong for what the words mean, not for how they are written
    except (*syntax.TROUBLES, *syntax.LIMITS):
        pass
    lines = data.splitlines()
    near = lines if text.startswith("unterminated") else lines[max(line - _NEAR, 0) : line + 1]
    return _NEWER.search(b"\n".join(near)) is None


def _unparsed(subject: Subject) -> Iterator[Found]:
    facts, app = subject.facts, find_app(subject)
    if facts is None:
        return
    surely, code = executed(subject), subject.start.task.code
    if code and (wrong := trouble(code.encode("utf-8", "surrogateescape"), facts.minor[1])):
        severity = None if wrong.sure else Severity.WARNING
        yield Found(path=subject.said_in(code), evidence=f"-c, {wrong}", severity=severity)
    for path in dict.fromkeys((*surely, *app.files)):
        data = subject.contents.get(path)
        if data is None or _is_no_source(subject, path, data):
            continue
        wrong = trouble(data, facts.minor[1])
        if wrong is None or not (wrong.sure or path in surely):
            continue
        via = f"; {surely[path]} imports it" if surely.get(path) else ""
        doubt = "" if wrong.sure else f", says Python 3.{_HOST}, which does not know all that 3.{facts.minor[1]} does"
        yield Found(
            path=path,
            evidence=f"{wrong}{doubt}{via}",
            severity=None if wrong.sure and path in surely else Severity.WARNING,
        )


def _is_no_source(subject: Subject, path: str, data: bytes) -> bool:
    """Whether Python takes what it is started with for bytecode or an archive, or leaves out its first line (-x)."""
    if path.endswith(".py") and data[:4] != b"PK\3\4":
        told = subject.start.task
        return "x" in told.flags and path == subject.real(posixpath.join(subject.working_dir, told.script))
    return path.endswith(".pyc") or data[2:4] == b"\r\n" or b"PK\5\6" in data[-(1 << 16) :] or data[:4] == b"\x7fELF"


RULES: Final = (
    Rule(
        id="RUN010",
        severity=Severity.ERROR,
        title="a source of the app cannot be read by Python",
        symptom="SyntaxError: invalid syntax; SyntaxError: Non-UTF-8 code starting with '\\xe9' in file /app/main.py",
        why="What is started, or surely imported by it, is no Python of the image's version: a typing error, a conflict"
        " that was not resolved (<<<<<<<), another encoding than UTF-8 without a line that says so, or a syntax that"
        " came with a later version. A warning in what may never be imported, and where the Python that runs dpbuild is"
        " older than the image's and cannot be sure.",
        fix="mend the line, or choose a base whose Python reads it",
        look=_unparsed,
    ),
)
