"""RUN010: what Python cannot read, whichever Python asks."""

import sys

import pytest
from factories.image import File, Files
from factories.subject import PYTHON, found, make_subject

from dpbuild.model.finding import Severity
from dpbuild.stages.proof import unparsed
from dpbuild.stages.proof.unparsed import trouble

HOST = sys.version_info[1]
WRONG = {
    "a typing error": b"import os\ndef f(:\n    pass\n",
    "a conflict": b"x = 1\n<<<<<<< HEAD\nx = 2\n=======\nx = 3\n>>>>>>> other\n",
    "Latin-1": 'print("\xe9")\n'.encode("latin-1"),
    "UTF-16": "print(1)\n".encode("utf-16"),
    "a null byte": b"print(1)\n\0\n",
    "await outside of a function": b"await x\n",
    "return outside of a function": b"return 1\n",
    "an import of the future too late": b"import os\nfrom __future__ import annotations\n",
    "Python 2": b"print 'x'\n",
    "an end that is missing": b"x = [\n",
}
RIGHT = {
    "nothing": b"",
    "an encoding that is said": '# -*- coding: latin-1 -*-\nx = "\xe9"\n'.encode("latin-1"),
    "a byte order mark": b"\xef\xbb\xbfx = 1\n",
    "carriage returns": b"x = [\r\n1]\r\n",
    "match": b"match x:\n    case 1:\n        pass\n",
    "annotations of the future": b'"""Doc."""\nfrom __future__ import annotations\n',
    "too deep for some": b"x = " + b"-" * 20000 + b"1\n",
}
# By the version that brought it (PEP 695, 696, 701, 750, 758).
NEW = {
    "type X = int\n": 12,
    "def f[T](x: T) -> T:\n    return x\n": 12,
    "class A[T]:\n    pass\n": 12,
    'd = {}\nprint(f"{d["a"]}")\n': 12,
    "print(f'{\"\\n\"}')\n": 12,
    "class A[T = int]:\n    pass\n": 13,
    "x = t'{1}'\n": 14,
    "try:\n    pass\nexcept ValueError, KeyError:\n    pass\n": 14,
}


@pytest.mark.parametrize("minor", [12, 13, 14, 15])
@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_what_no_python_reads(data: bytes, minor: int) -> None:
    wrong = trouble(data, minor)
    assert wrong is not None
    assert wrong.sure


@pytest.mark.parametrize("minor", [11, 12, 13, 14, 15])
@pytest.mark.parametrize("data", RIGHT.values(), ids=RIGHT)
def test_what_every_python_reads(data: bytes, minor: int) -> None:
    assert trouble(data, minor) is None


@pytest.mark.parametrize(("text", "since"), NEW.items())
def test_what_a_newer_python_reads_is_never_surely_wrong(text: str, since: int) -> None:
    for minor in range(since, 17):
        wrong = trouble(b"import os\n" + text.encode() + b"x = 1\n", minor)
        assert wrong is None or (since > HOST and not wrong.sure)


def test_a_null_byte_that_a_script_may_have() -> None:
    wrong = trouble(WRONG["a null byte"], 11)
    assert wrong is not None
    assert (wrong.sure, wrong.line) == (False, 2)


def test_what_came_after_the_images_version() -> None:
    wrong = trouble(b"match x:\n    case 1:\n        pass\n", 9)
    assert wrong is not None
    assert wrong.sure
    assert wrong.text == "Pattern matching is only supported in Python 3.10 and greater"


def rows(files: Files, *arguments: str) -> list[tuple[str, Severity, str]]:
    return [
        (row.path, row.severity, row.evidence)
        for row in found(make_subject(files, entrypoint=(PYTHON, *arguments)), "RUN010")
    ]


BAD = File(b"x = 1\nreturn 1\n")


def test_what_is_surely_executed_is_an_error() -> None:
    files: Files = {"app/main.py": File(b"import a\ntry:\n    import b\nexcept ImportError:\n    pass\n")}
    files |= {"app/a.py": BAD, "app/b.py": BAD}
    text = "line 2: 'return' outside function"
    assert rows(files, "/app/main.py") == [
        ("/app/a.py", Severity.ERROR, f"{text}; /app/main.py imports it"),
        ("/app/b.py", Severity.WARNING, text),
    ]
    assert rows({"app/main.py": BAD}, "/app/main.py") == [("/app/main.py", Severity.ERROR, text)]
    assert rows({"app/run": BAD}, "/app/run") == [("/app/run", Severity.ERROR, text)]


def test_an_older_python_is_not_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unparsed, "_HOST", 11)
    monkeypatch.setattr(unparsed, "_is_old", lambda data, line, text: False)
    files: Files = {"app/main.py": File(b"import a\n"), "app/a.py": File(b"x y\n"), "app/b.py": File(b"x y\n")}
    assert rows(files, "/app/main.py") == [
        (
            "/app/a.py",
            Severity.WARNING,
            "line 1: invalid syntax, says Python 3.11, which does not know all that 3.13 does; /app/main.py imports it",
        )
    ]


@pytest.mark.parametrize(
    ("name", "data", "arguments"),
    [
        ("app/main.pyc", b"\xf3\r\r\n" + bytes(12), ()),
        ("app/main", b"\xf3\r\r\n" + bytes(12), ()),
        ("app/main.pyz", b"#!/usr/bin/python3\nPK\3\4\xff\xffPK\5\6" + bytes(18), ()),
        ("app/main.py", b"\xff first line of another kind\nx = 1\n", ("-x",)),
    ],
)
def test_what_is_no_source(name: str, data: bytes, arguments: tuple[str, ...]) -> None:
    assert rows({name: File(data)}, *arguments, f"/{name}") == []
