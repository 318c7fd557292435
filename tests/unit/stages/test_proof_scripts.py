"""SCR: first lines of scripts."""

import pytest
from factories.elf import make_elf
from factories.image import File, Files, Link
from factories.subject import PYTHON, SITE, found, ids, make_subject

from dpbuild.model.finding import Severity


def script(line: str, path: str = "usr/local/bin/tool", mode: int = 0o755) -> Files:
    return {path: File(f"#!{line}\nimport sys\n".encode(), mode)}


@pytest.mark.parametrize(
    ("line", "rule", "evidence"),
    [
        (PYTHON, "", ""),
        (f" {PYTHON} -u", "", ""),
        ("/usr/bin/python3", "", ""),
        ("/root/.pyenv/versions/3.13.1/bin/python", "SCR001", "/root/.pyenv/versions/3.13.1/bin/python is not in the"),
        ("/opt/venv/bin/python", "SCR001", "is a link to /usr/local/bin/python, which is not in the image"),
        ("/etc/passwd", "SCR001", "/etc/passwd may not be executed"),
        ("python3", "SCR001", "/home/nonroot/python3 is not in the image; the kernel does not look along PATH"),
        ("bin/python3", "SCR001", "/home/nonroot/bin/python3 is not in the image"),
        ("/usr/bin/env python3", "SCR002", "#!/usr/bin/env python3: /usr/bin/env is not in the image"),
        (f"/{'long/' * 60}python", "SCR003", "the kernel reads 256 of the file"),
        (f"{PYTHON}\r", "SCR004", "which is part of the name"),
        (f"{PYTHON} -u\r", "SCR004", "which is part of the argument"),
    ],
)
def test_first_lines(line: str, rule: str, evidence: str) -> None:
    files = script(line) | {
        "opt/venv/bin/python": Link("python3"),
        "opt/venv/bin/python3": Link("/usr/local/bin/python"),
    }
    rows = found(make_subject(files))
    assert [(row.rule, row.severity, row.path) for row in rows] == (
        [(rule, Severity.WARNING, "/usr/local/bin/tool")] if rule else []
    )
    assert not rows or evidence in rows[0].evidence
    started = found(make_subject(files, entrypoint=("tool",)))
    assert [(row.rule, row.severity) for row in started] == ([(rule, Severity.ERROR)] if rule else [])


def test_env_without_the_program() -> None:
    env: Files = {"usr/bin/env": File(make_elf(), 0o755)}
    assert ids(make_subject(script("/usr/bin/env python3") | env)) == []
    assert ids(make_subject(script("/usr/bin/env -S python3 -u") | env)) == []
    assert ids(make_subject(script("/usr/bin/env -S -u HOME A=1 python3 -u") | env)) == []
    assert ids(make_subject(script("/usr/bin/env -S ${HOME}/python") | env)) == []
    (row,) = found(make_subject(script("/usr/bin/env python3 -u") | env, entrypoint=("tool",)))
    assert (row.rule, row.severity) == ("SCR001", Severity.ERROR)
    assert row.evidence == (
        "#!/usr/bin/env python3 -u: python3 -u is in no folder of PATH; what follows env is one word without env's"
        " option -S"
    )
    (row,) = found(make_subject(script("/usr/bin/env python2") | env))
    assert (row.rule, row.evidence) == ("SCR001", "#!/usr/bin/env python2: python2 is in no folder of PATH")


def test_only_where_programs_are_looked_for() -> None:
    assert ids(make_subject(script("/nowhere/python", f"{SITE}/pkg/tool.py"))) == []
    assert ids(make_subject(script("/nowhere/python", "opt/x/bin/tool"))) == ["SCR001"]


def test_scripts_for_shells() -> None:
    (row,) = found(make_subject(script("/bin/sh")))
    assert (row.rule, row.severity) == ("SCR001", Severity.NOTE)
    records: Files = {"var/lib/dpkg/status.d/libc6.md5sums": File(b"0  usr/bin/ldd\n")}
    assert found(make_subject(script("/bin/bash", "usr/bin/ldd") | records)) == ()


def test_no_execute_bit() -> None:
    assert ids(make_subject(script(PYTHON, mode=0o644))) == ["SCR005"]
    assert ids(make_subject(script(PYTHON, "opt/x/bin/tool", 0o644))) == []


def test_launchers_for_windows() -> None:
    files: Files = {"usr/local/bin/tool.exe": File(b"MZ", 0o755)}
    assert [(row.rule, row.severity) for row in found(make_subject(files))] == [("SCR006", Severity.WARNING)]
    rows = found(make_subject(files, entrypoint=("tool.exe",)), "SCR006")
    assert {row.severity for row in rows} == {Severity.ERROR, Severity.WARNING}


@pytest.mark.parametrize("data", [b"", b"print(1)\n", b"\x7fELF\x02\x01"])
def test_no_program_at_all(data: bytes) -> None:
    (row,) = found(make_subject({"run": File(data, 0o755)}, entrypoint=("/run",)))
    assert (row.rule, row.path, row.severity) == ("SCR007", "/run", Severity.ERROR)


def test_a_static_program_is_one() -> None:
    assert (
        ids(make_subject({"run": File(make_elf(type="executable", dynamic=False), 0o755)}, entrypoint=("/run",))) == []
    )


def test_another_python() -> None:
    info = f"{SITE}/tool-1.dist-info"
    files: Files = {
        "opt/py/bin/python3.12": File(make_elf(), 0o755),
        f"{info}/METADATA": File(b"Name: tool\n"),
        f"{info}/RECORD": File(b"../../../bin/tool,,\ntool-1.dist-info/METADATA,,\n"),
    }
    rows = found(make_subject(files | script("/opt/py/bin/python3.12")), "SCR")
    assert [(row.rule, row.owner) for row in rows] == [("SCR008", "tool 1")]
    assert ids(make_subject(files | script(PYTHON)), "SCR") == []
