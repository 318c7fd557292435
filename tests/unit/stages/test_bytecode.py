"""Bytecode by an interpreter, here the one that runs the tests: names, headers, order, and what is left out."""

import importlib.util
import marshal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from dpbuild.errors import SandboxError
from dpbuild.ports.sandbox import Job, Outcome
from dpbuild.stages.bytecode import Mode, bytecode_path, compile_sources, wanted


class Here:
    """A sandbox that is none."""

    name = "here"
    isolates = False

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def run(self, job: Job) -> Outcome:
        self.jobs.append(job)
        done = subprocess.run(job.argv, input=job.stdin, env=dict(job.env), capture_output=True, check=False)
        return Outcome(status=done.returncode, stdout=done.stdout, stderr=done.stderr)


TAG = sys.implementation.cache_tag
SITE = "/usr/local/lib/python3.13/dist-packages"


def compiled(files: dict[str, str | bytes], mode: Mode = "unchecked", optimize: int = 0) -> dict[str, bytes]:
    rows = [(path, text.encode() if isinstance(text, str) else text) for path, text in files.items()]
    return dict(compile_sources(Here(), "/", sys.executable, rows, mode, optimize))


def test_the_file_is_what_the_interpreter_itself_would_find() -> None:
    source = b"VALUE = {1, 2, 3}\ndef f(): return VALUE\n"
    (path, data), *rest = compiled({f"{SITE}/pkg/mod.py": source}).items()
    assert rest == []
    assert path == f"{SITE}/pkg/__pycache__/mod.{TAG}.pyc"
    assert path == importlib.util.cache_from_source(f"{SITE}/pkg/mod.py", optimization="")
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert data[8:16] == importlib.util.source_hash(source)
    code = marshal.loads(data[16:])
    assert isinstance(code, types.CodeType)
    assert code.co_filename == f"{SITE}/pkg/mod.py"
    assert [row.co_filename for row in code.co_consts if isinstance(row, types.CodeType)] == [code.co_filename]


@pytest.mark.parametrize(("mode", "flags"), [("unchecked", 0b01), ("checked", 0b11)])
def test_the_flags_are_those_of_pep_552(mode: Mode, flags: int) -> None:
    (data,) = compiled({"/a.py": "1"}, mode).values()
    assert int.from_bytes(data[4:8], "little") == flags


def test_checked_bytecode_gives_way_to_another_source(tmp_path: Path) -> None:
    source = tmp_path / "mod.py"
    source.write_text("VALUE = 'compiled'\n")
    (data,) = compiled({str(source): source.read_bytes()}, "checked").values()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / f"__pycache__/mod.{TAG}.pyc").write_bytes(data)

    def value() -> str:
        command = [sys.executable, "-B", "-c", "import mod; print(mod.VALUE)"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    assert value() == "compiled"
    source.write_text("VALUE = 'mounted over it'\n")
    assert value() == "mounted over it"
    (data,) = compiled({str(source): "VALUE = 'not looked at'\n"}, "unchecked").values()
    (tmp_path / f"__pycache__/mod.{TAG}.pyc").write_bytes(data)
    assert value() == "not looked at"


def test_optimisation_is_in_name_and_code() -> None:
    files: dict[str, str | bytes] = {"/a.py": "assert False\n"}
    (path, data), *_ = compiled(files, optimize=1).items()
    assert path == f"/__pycache__/a.{TAG}.opt-1.pyc"
    exec(marshal.loads(data[16:]))
    with pytest.raises(AssertionError):
        exec(marshal.loads(compiled(files)[f"/__pycache__/a.{TAG}.pyc"][16:]))


def test_the_order_of_the_files_does_not_show() -> None:
    text = "import os, sys\nNAMES = {'a', 'b', 'c', os.name}\ndef f(x): return x in {'p', 'q', 'r', 's'}\n"
    files = {f"/pkg/m{number}.py": f"{text}X{number} = {number}\n" for number in range(20)}
    assert compiled(files) == compiled(dict(reversed(files.items())))


def test_what_does_not_compile_is_left_out() -> None:
    files: dict[str, str | bytes] = {
        "/a.py": "x = 1",
        "/b.py": "print 'python 2'",
        "/c.py": b"x = '\0'",
        "/d.py": b"# coding: no-such-codec\n",
        "/e.py": b"x = '\xff'",
        "/f.py": "(" * 500 + ")" * 500,
        "/g.py": b"# coding: latin-1\nx = '\xe9'\n",
        "/h.py": "",
        "/i.py": "return",
    }
    found = compiled(files)
    assert [path.split("/")[-1].split(".")[0] for path in found] == ["a", "g", "h"]
    assert marshal.loads(found[f"/__pycache__/g.{TAG}.pyc"][16:]).co_consts[0] == "é"


def test_warnings_are_no_problem() -> None:
    assert len(compiled({"/a.py": "x = '\\d'\nassert (1, 2)\nif x is 1: pass\n"})) == 1


@pytest.mark.parametrize(
    ("path", "is_wanted"),
    [
        ("/usr/lib/python3.13/os.py", True),
        ("pkg/testing/a.py", True),
        ("pkg/test_a.py", True),
        ("test.py", True),
        ("pkg/tests/a.py", False),
        ("pkg/test/b/a.py", False),
        ("usr/lib/python3.13/_sysconfigdata__linux_x86_64-linux-gnu.py", False),
        ("pkg/a.pyi", False),
        ("pkg/a.txt", False),
        ("pkg/__pycache__/a.py", False),
    ],
)
def test_which_files_get_any(path: str, is_wanted: bool) -> None:
    assert wanted(path) is is_wanted


def test_nothing_to_do_starts_nothing() -> None:
    sandbox = Here()
    assert compile_sources(sandbox, "/", sys.executable, [("/a/tests/b.py", b""), ("/a.txt", b"")], "checked") == ()
    assert sandbox.jobs == []


def test_one_process_with_a_fixed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "123")
    sandbox = Here()
    compile_sources(sandbox, "/", sys.executable, [("/a.py", b""), ("/b.py", b"")], "checked")
    (job,) = sandbox.jobs
    assert dict(job.env)["PYTHONHASHSEED"] == "0"
    assert not job.network
    assert job.mounts == ()


@pytest.mark.parametrize(
    "answer",
    [
        lambda good: Outcome(status=1, stdout=b"", stderr=b"Traceback\nImportError: no marshal\n"),
        lambda good: Outcome(status=139, stdout=good[:-5]),
        lambda good: Outcome(status=0, stdout=good[:-5]),
        lambda good: Outcome(status=0, stdout=b""),
    ],
)
def test_an_interpreter_that_fails_is_an_error_with_a_hint(answer: Callable[[bytes], Outcome]) -> None:
    class Failing(Here):
        def run(self, job: Job) -> Outcome:
            return answer(super().run(job).stdout)

    with pytest.raises(SandboxError, match="did not compile") as caught:
        compile_sources(Failing(), "/", sys.executable, [("/a.py", b"1"), ("/b.py", b"2")], "checked")
    assert caught.value.hint is not None
    assert "bytecode = false" in caught.value.hint
    assert caught.value.exit_code == 100


def test_names_are_those_of_pep_488() -> None:
    assert bytecode_path("a/b.py", "cpython-311", 0) == "a/__pycache__/b.cpython-311.pyc"
    assert bytecode_path("b.py", "cpython-311", 2) == "__pycache__/b.cpython-311.opt-2.pyc"
