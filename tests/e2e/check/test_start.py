"""What an image is told to start and cannot: each broken for real, what the container says, and the same image mended."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from derived import Derive, rules
from factories.image import File, Files, Folder, Link
from machinery import ComposedBase

Findings = Callable[..., list[dict[str, str]]]
Run = Callable[..., subprocess.CompletedProcess[str]]
PYTHON = "/usr/bin/python3.13"
MAIN: Files = {"app/main.py": File(b"print('fine')\n")}
ENV = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
    "LANG=C.UTF-8",
]


def script(line: str, mode: int = 0o755) -> File:
    return File(f"#!{line}\nprint('fine')\n".encode(), mode)


@dataclass(frozen=True)
class Case:
    """``mended`` files and config are laid over the broken ones."""

    rules: list[str]
    message: str
    files: Files = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    mended: Files = field(default_factory=dict)
    mend: dict[str, Any] = field(default_factory=dict)


VENV: Files = {
    "app/.venv/pyvenv.cfg": File(b"home = /usr/local/bin\nversion_info = 3.13.5\n"),
    "app/.venv/bin/python": Link("/usr/local/bin/python3.13"),
    "app/.venv/bin/granian": script("/app/.venv/bin/python"),
}

# A program that only starts another one, as tini does; it needs the C library alone.
ENV_PROGRAM: Files = {"usr/bin/env": File(Path("/usr/bin/env").read_bytes(), 0o755)}

CASES = {
    "a program's name as the script (pain 1)": Case(
        ["INT007"],
        "can't open file '/home/nonroot/uvicorn': [Errno 2] No such file or directory",
        config={"Cmd": ["uvicorn", "app:app"]},
        mend={"Cmd": ["/app/main.py"]},
    ),
    "the shell form of CMD on a Python entrypoint (pain 1)": Case(
        ["INT011"],
        "can't open file '/bin/sh': [Errno 2] No such file or directory",
        config={"Cmd": ["/bin/sh", "-c", "python3 /app/main.py"]},
        mend={"Cmd": ["/app/main.py"]},
    ),
    "the shell form of ENTRYPOINT": Case(
        ["INT011"],
        'exec: "/bin/sh": stat /bin/sh: no such file or directory',
        config={"Entrypoint": ["/bin/sh", "-c", "python3 /app/main.py"]},
        mend={"Entrypoint": [PYTHON, "/app/main.py"]},
    ),
    "a program that is in no folder of PATH": Case(
        ["INT005"],
        'exec: "gunicorn": executable file not found in $PATH',
        config={"Entrypoint": ["gunicorn"]},
        mended={"usr/local/bin/gunicorn": script(PYTHON)},
    ),
    "a script without its execute bit": Case(
        ["INT006"],
        'exec: "/app/run": permission denied',
        {"app/run": script(PYTHON, 0o644)},
        {"Entrypoint": ["/app/run"]},
        {"app/run": script(PYTHON)},
    ),
    "a module that is nowhere": Case(
        ["INT008"],
        "No module named api",
        config={"Cmd": ["-m", "api"]},
        mended={"usr/local/lib/python3.13/dist-packages/api.py": File(b"print('fine')\n")},
    ),
    "a virtual environment of another image (pain 8)": Case(
        ["LAY002", "SCR001"],
        "exec /app/.venv/bin/granian: no such file or directory",
        VENV,
        {"Entrypoint": ["/app/.venv/bin/granian"]},
        {"app/.venv/bin/python": Link(PYTHON)},
    ),
    "a script with the host's interpreter (pain 8)": Case(
        ["SCR001"],
        "exec /app/bin/gunicorn: no such file or directory",
        {"app/bin/gunicorn": script("/home/ci/.pyenv/versions/3.13.1/bin/python")},
        {"Entrypoint": ["/app/bin/gunicorn"]},
        {"app/bin/gunicorn": script(PYTHON)},
    ),
    "env, which is not there": Case(
        ["SCR002"],
        "exec /app/run: no such file or directory",
        {"app/run": script("/usr/bin/env python3")},
        {"Entrypoint": ["/app/run"]},
        {"app/run": script("/usr/bin/python3")},
    ),
    "a first line without a folder": Case(
        ["SCR001"],
        "exec /usr/local/bin/tool: no such file or directory",
        {"usr/local/bin/tool": script("python3")},
        {"Entrypoint": ["tool"]},
        {"usr/local/bin/tool": script(PYTHON)},
    ),
    "env with two words": Case(
        ["SCR001"],
        "python3 -u",
        ENV_PROGRAM | {"app/run": script("/usr/bin/env python3 -u")},
        {"Entrypoint": ["/app/run"]},
        {"app/run": script("/usr/bin/env -S python3 -u")},
    ),
    "two options in a first line": Case(
        ["INT013"],
        "Unknown option: - ",
        {"app/run": script(f"{PYTHON} -E -s")},
        {"Entrypoint": ["/app/run"]},
        {"app/run": script(f"{PYTHON} -Es")},
    ),
    "the app's option before the script": Case(
        ["INT013"],
        "unknown option --reload",
        config={"Cmd": ["--reload", "/app/main.py"]},
        mend={"Cmd": ["/app/main.py", "--reload"]},
    ),
    "a program behind another one": Case(
        ["INT005"],
        "No such file or directory",
        ENV_PROGRAM,
        {"Entrypoint": ["/usr/bin/env", "-u", "HOME", "gunicorn"]},
        {"usr/local/bin/gunicorn": script(PYTHON)},
    ),
    "a value that Python does not take": Case(
        ["STA022"],
        "invalid PYTHONUTF8 environment variable value",
        config={"Cmd": ["/app/main.py"], "Env": [*ENV, "PYTHONUTF8=true"]},
        mend={"Env": [*ENV, "PYTHONUTF8=1"]},
    ),
    "a module that the user may not read": Case(
        ["LAY006"],
        "'api' is a package and cannot be directly executed",
        {"app/api": Folder(0o700), "app/api/__init__.py": File(b""), "app/api/__main__.py": MAIN["app/main.py"]},
        {"Cmd": ["-m", "api"], "WorkingDir": "/app"},
        {"app/api": Folder(0o755)},
    ),
    "a compiled script of another version": Case(
        ["STA021"],
        "Bad magic number in .pyc file",
        {"app/main.pyc": File(b"\xcb\r\r\n" + bytes(12) + b"N")},
        {"Cmd": ["/app/main.pyc"]},
        mend={"Cmd": ["/app/main.py"]},
    ),
    "an interpreter's path that is too long": Case(
        ["SCR003"],
        "exec /app/run: exec format error",
        {"app/run": script("/" + "long/" * 60 + "python"), "long": Link(".")},
        {"Entrypoint": ["/app/run"]},
        {"app/run": script(PYTHON)},
    ),
    "line ends of Windows": Case(
        ["SCR004"],
        "exec /app/run: no such file or directory",
        {"app/run": script(f"{PYTHON}\r")},
        {"Entrypoint": ["/app/run"]},
        {"app/run": script(PYTHON)},
    ),
    "no first line at all": Case(
        ["SCR007"],
        "exec /app/run: exec format error",
        {"app/run": File(b"print('fine')\n", 0o755)},
        {"Entrypoint": ["/app/run"]},
        {"app/run": script(PYTHON)},
    ),
    "a real lib64 over the link (pain 12)": Case(
        ["INT003"],
        f"exec {PYTHON}: no such file or directory",
        {"lib64": Folder(), "lib64/libmine.txt": File(b"1")},
        {"Cmd": ["/app/main.py"]},
    ),
    "files below the link lib64 (pain 12)": Case(
        ["INT003"],
        f"exec {PYTHON}: no such file or directory",
        {"lib64/libmine.txt": File(b"1")},
        {"Cmd": ["/app/main.py"]},
    ),
    "the standard library of another version": Case(
        ["INT009"],
        "No module named 'encodings'",
        {"usr/lib/.wh.python3.13": File(b""), "usr/lib/python3.12/os.py": File(b"")},
        {"Cmd": ["/app/main.py"]},
    ),
    "PYTHONHOME of another image": Case(
        ["STA004"],
        "No module named 'encodings'",
        {"usr/local/lib/python3.12/os.py": File(b"")},
        {"Cmd": ["/app/main.py"], "Env": [*ENV, "PYTHONHOME=/usr/local"]},
        mend={"Env": ENV},
    ),
    "a user that the image does not have": Case(
        ["STA011"],
        "unable to find user app",
        config={"Cmd": ["/app/main.py"], "User": "app"},
        mend={"User": "nonroot"},
    ),
    "a module of the app that Python itself needs": Case(
        ["LAY011"],
        "/app/types.py",
        {"app/types.py": File(b"A = 1\n")},
        {"Cmd": ["-m", "main"], "WorkingDir": "/app"},
        mend={"Env": [*ENV, "PYTHONSAFEPATH=1", "PYTHONPATH="], "Cmd": ["/app/main.py"]},
    ),
    "a folder of mode 0700 (pain 26)": Case(
        ["LAY006"],
        "can't open file '/priv/main.py': [Errno 13] Permission denied",
        {"priv": Folder(0o700), "priv/main.py": File(b"print('fine')\n")},
        {"Cmd": ["/priv/main.py"]},
        {"priv": Folder(0o755)},
    ),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(row, id=name, marks=[] if "(pain" in name else pytest.mark.slow) for name, row in CASES.items()],
)
def test_it_is_broken_and_mended(derive: Derive, findings: Findings, run_in_docker: Run, case: Case) -> None:
    broken = derive("debian13", MAIN | case.files, **case.config)
    found = findings(broken)
    assert rules(found) == case.rules, found
    assert rules(found, "error") == case.rules
    done = run_in_docker(broken)
    assert done.returncode != 0
    assert case.message in done.stderr
    if not case.mended and not case.mend:
        return
    mended = derive("debian13", MAIN | case.files | case.mended, **case.config | case.mend)
    assert rules(findings(mended)) == []
    assert run_in_docker(mended).stdout == "fine\n"


def test_files_behind_the_link_are_fine(derive: Derive, findings: Findings, run_in_docker: Run) -> None:
    """Pain 12, mended."""
    mended = derive("debian13", MAIN, {"usr/lib64/libmine.txt": File(b"1")}, Cmd=["/app/main.py"])
    assert rules(findings(mended)) == []
    assert run_in_docker(mended).stdout == "fine\n"


def program(base: ComposedBase) -> bytearray:
    with open(f"{base.rootfs}{PYTHON}", "rb") as file:
        return bytearray(file.read())


@pytest.mark.slow
def test_an_interpreter_for_another_machine(
    derive: Derive, findings: Findings, run_in_docker: Run, composed_base: Callable[[str], ComposedBase]
) -> None:
    data = program(composed_base("debian13"))
    data[18:20] = (50).to_bytes(2, "little")  # e_machine: IA-64, which no emulator takes
    broken = derive("debian13", {"usr/bin/python3.13": bytes(data)})
    assert rules(findings(broken, "--select", "INT")) == ["INT010"]
    assert "exec format error" in run_in_docker(broken).stderr


@pytest.mark.slow
def test_a_program_before_python(derive: Derive, findings: Findings, run_in_docker: Run) -> None:
    """Of another C library, and with a library that did not come along."""
    env, config = Path("/usr/bin/env").read_bytes(), {"Entrypoint": ["/usr/bin/env", PYTHON, "/app/main.py"]}
    fine = derive("debian13", MAIN | ENV_PROGRAM, **config)
    assert rules(findings(fine)) == []
    assert run_in_docker(fine).stdout == "fine\n"
    alien = env.replace(b"/lib64/ld-linux-x86-64.so.2\0", b"/lib64/ld-musl-x86_64.so.1\0\0")
    broken = derive("debian13", MAIN | {"usr/bin/env": File(alien, 0o755)}, **config)
    assert rules(findings(broken)) == ["INT004"]
    assert "exec /usr/bin/env: no such file or directory" in run_in_docker(broken).stderr
    lacking = env.replace(b"\0libc.so.6\0", b"\0libq.so.6\0")
    broken = derive("debian13", MAIN | {"usr/bin/env": File(lacking, 0o755)}, **config)
    assert rules(findings(broken)) == ["LIB006"]
    assert "libq.so.6: cannot open shared object file" in run_in_docker(broken).stderr


@pytest.mark.slow
def test_an_interpreter_of_another_c_library(
    derive: Derive, findings: Findings, run_in_docker: Run, composed_base: Callable[[str], ComposedBase]
) -> None:
    data = program(composed_base("debian13"))
    data = data.replace(b"/lib64/ld-linux-x86-64.so.2\0", b"/lib64/ld-musl-x86_64.so.1\0\0")
    broken = derive("debian13", {"usr/bin/python3.13": bytes(data)})
    assert rules(findings(broken, "--select", "INT")) == ["INT004"]
    assert f"exec {PYTHON}: no such file or directory" in run_in_docker(broken).stderr
