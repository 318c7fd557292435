"""INT: images that do not start Python, or start it with the wrong thing."""

import io
import zipfile
from typing import Any

import pytest
from factories.elf import make_elf
from factories.image import File, Files, Folder, Link
from factories.subject import BASE_ENV, PYTHON, SITE, STDLIB, base, found, ids, make_subject

from dpbuild.model.finding import Severity
from dpbuild.oci.config import History

MAIN: Files = {"app/main.py": File(b"print('fine')\n")}


def test_nothing_is_wrong_with_the_base() -> None:
    subject = make_subject()
    assert subject.trouble == ""
    assert found(subject) == ()


def test_a_program_as_a_script() -> None:
    (row,) = found(make_subject(cmd=("/usr/bin/python3", "/app/main.py")), "INT002")
    assert row.path == PYTHON
    assert row.evidence.startswith("argv is /usr/bin/python3.13 /usr/bin/python3 /app/main.py: ")


def test_no_interpreter() -> None:
    assert "INT001" in ids(make_subject(below=base()[:1]))


def test_a_folder_over_the_link_to_the_loader() -> None:
    subject = make_subject({"lib64/": Folder(), "lib64/libx.so": File(b"x")})
    (row,) = found(subject)
    assert (row.rule, row.path, row.severity) == ("INT003", "/lib64", Severity.ERROR)
    assert "layer 6 has a folder where layer 3 has the link lib64 -> usr/lib64" in row.evidence
    assert "/lib64/ld-linux-x86-64.so.2, which the interpreter asks the kernel for, is gone" in row.evidence


def test_layers_are_called_by_what_made_them() -> None:
    layers: tuple[Files, ...] = ({"lib64": Link("usr/lib64")}, {"lib64/x": File(b"x"), "lib64": Folder()})
    rows = [History(created_by=f"made {number}") for number in range(7)]
    subject = make_subject(*layers, history=(*rows[:6], History(created_by="ENV", empty_layer=True), rows[6]))
    (row,) = found(subject, "INT003")
    assert "layer 7 (made 6) has a folder where layer 6 (made 5)" in row.evidence


def test_a_folder_over_a_link_that_the_interpreter_does_not_need() -> None:
    (row,) = found(make_subject({"lib": Folder(), "lib/x": File(b"x")}))
    assert (row.rule, row.path, row.severity) == ("INT003", "/lib", Severity.WARNING)


def test_files_below_a_link_make_a_folder_in_docker() -> None:
    (row,) = found(make_subject({"lib64/x": File(b"x")}))
    assert (row.rule, row.path, row.severity) == ("INT003", "/lib64", Severity.ERROR)
    assert row.evidence.startswith(
        "layer 6 has files below it, of which Docker's overlay2 makes a folder, where layer 3 has the link lib64 ->"
        " usr/lib64, so /lib64/ld-linux-x86-64.so.2, which"
    )
    (row,) = found(make_subject({"bin/y": File(b"y")}))
    assert (row.rule, row.path, row.severity) == ("INT003", "/bin", Severity.WARNING)
    assert found(make_subject({"usr/lib64/x": File(b"x"), "usr/bin/y": File(b"y"), "library/z": File(b"")})) == ()


def test_a_loader_that_is_missing() -> None:
    alien = {"usr/bin/python3.13": make_elf(interp="/lib/ld-musl-x86_64.so.1", payload=b"\0dist-packages\0")}
    (row,) = found(make_subject(alien), "INT")
    assert row.rule == "INT004"
    assert row.evidence == "it asks for the loader /lib/ld-musl-x86_64.so.1, which is not in the image"


@pytest.mark.parametrize("argv", [("/server",), ("/tini", "--", PYTHON, "/app/main.py")])
def test_a_program_whose_loader_is_missing(argv: tuple[str, ...]) -> None:
    musl = File(make_elf(interp="/lib/ld-musl-x86_64.so.1"), 0o755)
    (row,) = found(make_subject(MAIN | {"server": musl, "tini": musl}, entrypoint=argv))
    assert (row.rule, row.path, row.severity) == ("INT004", argv[0], Severity.ERROR)


@pytest.mark.parametrize(
    ("program", "evidence"),
    [
        ({"needed": ("libfoo.so.1", "libc.so.6")}, "it needs libfoo.so.1, which is nowhere that the dynamic"),
        ({"needed": ("libmid.so.1",)}, "it needs libfoo.so.1 (for /lib/x86_64-linux-gnu/libmid.so.1), which is"),
        ({"needed": ("libc.so.6",), "verneed": (("libc.so.6", ("GLIBC_2.99",)),)}, "it needs GLIBC_2.99 of libc.so.6,"),
        ({"needed": ("libown.so.1",), "runpath": "$ORIGIN/lib"}, ""),
        ({"needed": ("libc.so.6",)}, ""),
    ],
)
def test_a_program_whose_libraries_are_missing(program: dict[str, Any], evidence: str) -> None:
    files: Files = {
        "app/server": File(make_elf(interp="/lib64/ld-linux-x86-64.so.2", **program), 0o755),
        "app/lib/libown.so.1": File(make_elf(soname="libown.so.1")),
        "usr/lib/x86_64-linux-gnu/libmid.so.1": File(make_elf(soname="libmid.so.1", needed=("libfoo.so.1",))),
    }
    rows = found(make_subject(files, entrypoint=("/app/server",)))
    assert [(row.rule, row.path, row.severity) for row in rows] == (
        [("LIB006", "/app/server", Severity.ERROR)] if evidence else []
    )
    assert not rows or rows[0].evidence.startswith(evidence)


def test_the_standard_library_of_another_version() -> None:
    below = list(base())
    below[3] = {path.replace("lib/python3.13", "lib/python3.12"): row for path, row in below[3].items()}
    (row,) = found(make_subject(below=tuple(below[:4])), "INT")
    assert (row.rule, row.path) == ("INT009", PYTHON)
    assert row.evidence == "it is Python 3.13, but the image's standard library is /usr/lib/python3.12"


def test_another_machine() -> None:
    (row,) = found(make_subject(below=base("aarch64")), "INT")
    assert (row.rule, row.evidence) == ("INT010", "it is for aarch64, but the config says linux/amd64")


def test_a_program_of_another_machine() -> None:
    files: Files = {"tool": File(make_elf("aarch64", type="executable"), 0o755)}
    assert ids(make_subject(files, entrypoint=("/tool",))) == ["INT010"]


@pytest.mark.parametrize(
    ("word", "rule", "evidence"),
    [
        ("gunicorn", "INT005", "gunicorn is in no folder of PATH (/usr/local/sbin:"),
        ("/app/run", "INT005", "/app/run is not in the image"),
        ("./run", "INT005", "/home/nonroot/./run is not in the image"),
        ("/app", "INT005", "/app is a folder"),
        ("/app/link", "INT005", "it is a link to /usr/local/bin/python, which is not in the image"),
        ("/app/main.py", "INT006", "its mode is 0644: nobody may execute it"),
        ("tool", "INT006", "its mode is 0600: nobody may execute it"),
        ("/bin/sh", "INT011", "argv is /bin/sh -c true, and /bin/sh is not in the image"),
        ("bash", "INT011", "argv is bash -c true, and bash is not in the image"),
    ],
)
def test_what_cannot_be_executed(word: str, rule: str, evidence: str) -> None:
    files: Files = {"app/link": Link("/usr/local/bin/python"), "usr/local/bin/tool": File(b"#!x\n", 0o600)}
    (row,) = found(make_subject(MAIN | files, entrypoint=(word,), cmd=("-c", "true")), "INT")
    assert (row.rule, row.severity) == (rule, Severity.ERROR)
    assert row.evidence.startswith(evidence)


@pytest.mark.parametrize(
    ("word", "rule", "path", "evidence"),
    [
        ("gunicorn", "INT005", "Entrypoint", "gunicorn is in no folder of PATH (/usr/local/sbin:"),
        ("/app/run", "INT005", "Entrypoint", "/app/run is not in the image; /tini looks for it"),
        ("/app/main.py", "INT006", "/app/main.py", "its mode is 0644: nobody may execute it; /tini looks for it"),
        ("sh", "INT011", "Entrypoint", "argv is /tini -p SIGTERM -- sh, and sh is not in the image"),
    ],
)
def test_what_an_init_program_cannot_start(word: str, rule: str, path: str, evidence: str) -> None:
    tini: Files = {"tini": File(make_elf(type="executable", dynamic=False), 0o755)}
    (row,) = found(make_subject(MAIN | tini, entrypoint=("/tini", "-p", "SIGTERM", "--", word)), "INT", "SCR")
    assert (row.rule, row.path, row.severity) == (rule, path, Severity.ERROR)
    assert row.evidence.startswith(evidence)


@pytest.mark.parametrize(
    ("arguments", "evidence"),
    [
        (("--reload", "/app/main.py"), f"{PYTHON} knows no option --reload"),
        (("-u", "-m"), "the option -m lacks its argument"),
    ],
)
def test_options_that_python_does_not_know(arguments: tuple[str, ...], evidence: str) -> None:
    (row,) = found(make_subject(MAIN, cmd=arguments), "INT")
    assert (row.rule, row.path, row.severity) == ("INT013", "Cmd", Severity.ERROR)
    assert row.evidence == f"argv is {PYTHON} {' '.join(arguments)}: {evidence}"


def test_two_options_in_a_first_line() -> None:
    files: Files = {"app/run": File(f"#!{PYTHON} -E -s\n".encode(), 0o755)}
    (row,) = found(make_subject(files, entrypoint=("/app/run",)))
    assert (row.rule, row.path) == ("INT013", "/app/run")
    assert row.evidence.endswith(
        f"{PYTHON} knows no option -E -s; all that follows the interpreter in a first line is one word to it"
    )
    together: Files = {"app/run": File(f"#!{PYTHON} -Es\n".encode(), 0o755)}
    assert found(make_subject(together, entrypoint=("/app/run",))) == ()


def test_no_command_at_all_is_only_a_note() -> None:
    (row,) = found(make_subject(entrypoint=()))
    assert (row.rule, row.severity) == ("INT005", Severity.NOTE)


def test_a_shell_as_the_script_of_python() -> None:
    (row,) = found(make_subject(MAIN, cmd=("/bin/sh", "-c", "python /app/main.py")))
    assert (row.rule, row.path) == ("INT011", "Cmd")


def test_a_shell_that_is_there_is_a_program_as_a_script() -> None:
    assert ids(make_subject({"usr/bin/sh": File(make_elf(), 0o755)}, cmd=("/bin/sh", "-c", "x"))) == ["INT002"]


@pytest.mark.parametrize("cmd", [("/app/main.py", "-x"), ("-u", "/app/main.py"), ("-X", "dev", "-I", "/app/main.py")])
def test_a_script_that_is_there(cmd: tuple[str, ...]) -> None:
    assert found(make_subject(MAIN, cmd=cmd)) == ()
    (row,) = found(make_subject(cmd=cmd))
    assert (row.rule, row.path) == ("INT007", "/app/main.py")


def test_scripts_count_from_the_working_directory() -> None:
    assert found(make_subject(MAIN, cmd=("main.py",), working_dir="/app")) == ()
    (row,) = found(make_subject(MAIN, cmd=("main.py",), working_dir="/"))
    assert (row.rule, row.path) == ("INT007", "/main.py")


def test_a_script_in_a_volume_or_of_the_engine() -> None:
    (row,) = found(make_subject(cmd=("/app/main.py",), volumes=("/app",)))
    assert (row.rule, row.severity) == ("INT007", Severity.WARNING)
    assert found(make_subject(cmd=("/dev/stdin",))) == ()


def test_a_folder_as_script() -> None:
    assert ids(make_subject(MAIN, cmd=("/app",))) == ["INT007"]
    assert ids(make_subject({"app/__main__.py": File(b"")}, cmd=("/app",))) == []


def archive(*names: str) -> File:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name in names:
            file.writestr(name, "")
    return File(b"#!/usr/bin/python3\n" + data.getvalue())


@pytest.mark.parametrize(
    ("names", "rules"), [(("main.py",), ["INT007"]), (("__main__.py",), []), (("a.py", "__main__.pyc"), [])]
)
def test_an_archive_as_script(names: tuple[str, ...], rules: list[str]) -> None:
    rows = found(make_subject({"app.pyz": archive(*names)}, cmd=("/app.pyz",)))
    assert [(row.rule, row.path, row.severity, row.evidence) for row in rows] == [
        (rule, "/app.pyz", Severity.ERROR, "it is an archive without __main__.py") for rule in rules
    ]


def test_a_program_named_where_a_script_is_wanted() -> None:
    module: Files = {f"{SITE}/uvicorn/__init__.py": File(b""), f"{SITE}/uvicorn/__main__.py": File(b"")}
    (row,) = found(make_subject(module, cmd=("uvicorn", "app:app"), working_dir="/"), "INT")
    assert (row.rule, row.path) == ("INT007", "/uvicorn")
    assert row.fix.startswith("say -m uvicorn;")
    script: Files = {"usr/local/bin/uvicorn": File(f"#!{PYTHON}\n".encode(), 0o755)}
    (row,) = found(make_subject(module | script, cmd=("uvicorn",)), "INT")
    assert row.fix.startswith("set Entrypoint to /usr/local/bin/uvicorn;")


@pytest.mark.parametrize(
    ("files", "env", "rules"),
    [
        ({}, (), ["INT008"]),
        ({f"{SITE}/api.py": File(b"")}, (), []),
        ({f"{SITE}/api/__main__.py": File(b"")}, (), []),
        ({f"{SITE}/api/__init__.py": File(b"")}, (), ["INT008"]),
        ({f"{SITE}/api.cpython-313-x86_64-linux-gnu.so": File(make_elf())}, (), []),
        ({"home/nonroot/api.py": File(b"")}, (), []),
        ({"home/nonroot/api.py": File(b"")}, ("PYTHONSAFEPATH=1",), ["INT008"]),
        ({"srv/api.py": File(b"")}, ("PYTHONPATH=/srv",), []),
        ({"srv/api.py": File(b""), f"{SITE}/x.pth": File(b"/srv\n")}, (), []),
        ({f"{SITE}/__editable___x.pth": File(b"import __editable___x_finder\n")}, (), []),
        ({f"{SITE}/lib.zip": File(b"PK"), f"{SITE}/x.pth": File(b"lib.zip\n")}, (), []),
        ({"opt/venv/lib/python3.13/site-packages/api.py": File(b"")}, (), ["INT008"]),
    ],
)
def test_where_modules_are_found(files: Files, env: tuple[str, ...], rules: list[str]) -> None:
    assert ids(make_subject(files, cmd=("-m", "api"), env=(*BASE_ENV, *env)), "INT") == rules


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("api/serve", "say -m api.serve: -m takes a module's name, and no path"),
        ("api/serve.py", "say -m api.serve: -m takes a module's name, and no path"),
        ("api/none", "install into the interpreter's own site directory, or add the folder to PYTHONPATH"),
    ],
)
def test_a_path_where_a_module_is_wanted(name: str, fix: str) -> None:
    files: Files = {"app/api/__init__.py": File(b""), "app/api/serve.py": File(b"")}
    (row,) = found(make_subject(files, cmd=("-m", name), working_dir="/app"), "INT")
    assert (row.rule, row.severity, row.fix) == ("INT008", Severity.ERROR, fix)


def test_a_module_of_a_package() -> None:
    files: Files = {f"{SITE}/api/__init__.py": File(b""), f"{SITE}/api/serve.py": File(b"")}
    assert ids(make_subject(files, cmd=("-m", "api.serve")), "INT") == []
    assert ids(make_subject(files, cmd=("-m", "api.other")), "INT") == ["INT008"]
    assert ids(make_subject({f"{STDLIB}/venv/__main__.py": File(b"")}, cmd=("-m", "venv"))) == []
