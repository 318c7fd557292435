"""STA: Env, user, folders, health checks and bytecode."""

import struct

import pytest
from factories.elf import make_elf
from factories.image import File, Files, Folder, Link
from factories.subject import BASE_ENV, PYTHON, SITE, STDLIB, base, found, ids, make_subject

from dpbuild.model.finding import Severity
from dpbuild.oci.config import Healthcheck
from dpbuild.stages.proof.rules import BY_ID

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE


def pyc(mtime: int, size: int, *, magic: int = 3571, flags: int = 0) -> File:
    return File(struct.pack("<HHIII", magic, 0x0A0D, flags, mtime, size) + b"code")


@pytest.mark.parametrize(
    ("row", "rules"),
    [
        (pyc(1, 3), []),
        (pyc(7, 3), ["STA001"]),
        (pyc(1, 4), ["STA001"]),
        (pyc(7, 9, flags=1), []),
    ],
)
def test_stale_bytecode(row: File, rules: list[str]) -> None:
    files: Files = {f"{SITE}/x.py": File(b"a=1"), f"{SITE}/__pycache__/x.cpython-313.pyc": row}
    rows = found(make_subject(files), "STA")
    assert [row.rule for row in rows] == rules
    assert all(row.severity is NOTE for row in rows)
    foreign: Files = {f"{SITE}/x.py": File(b"a=1"), f"{SITE}/__pycache__/x.cpython-312.pyc": row}
    assert ids(make_subject(foreign), "STA") == []


def test_much_stale_bytecode() -> None:
    files: Files = {}
    for number in range(25):
        files[f"{SITE}/m{number}.py"] = File(b"a=1", mtime=315532800)
        files[f"{SITE}/__pycache__/m{number}.cpython-313.pyc"] = pyc(1700000000, 3)
    (row,) = found(make_subject(files), "STA")
    assert (row.rule, row.severity) == ("STA001", WARNING)
    assert row.evidence == (
        "25 of 25 such files; this one is for a source of 3 bytes and time 1700000000, but the source has 3 bytes and"
        " time 315532800"
    )


def test_nothing_compiled() -> None:
    files: Files = {f"{SITE}/m{number}.py": File(b"#" * 5997 + b"\na\n") for number in range(250)}
    (row,) = found(make_subject(files), "STA")
    assert (row.rule, row.evidence) == ("STA002", "250 modules (1.5 MB of source), none compiled")
    files[f"{SITE}/__pycache__/m1.cpython-313.pyc"] = pyc(1, 6000)
    assert ids(make_subject(files), "STA") == []


def test_bytecode_of_another_version() -> None:
    (row,) = found(make_subject({f"{SITE}/pkg/api.pyc": pyc(0, 0, magic=3531)}), "STA")
    assert (row.rule, row.severity) == ("STA021", WARNING)
    assert row.evidence == "it was compiled by Python 3.12, the image has 3.13.5"
    assert ids(make_subject({f"{SITE}/pkg/api.pyc": pyc(0, 0)}), "STA") == []
    beside: Files = {f"{SITE}/pkg/api.pyc": pyc(0, 0, magic=3531), f"{SITE}/pkg/api.py": File(b"")}
    assert ids(make_subject(beside), "STA") == []


@pytest.mark.parametrize(
    ("path", "cmd"),
    [
        ("app/main.pyc", ("/app/main.pyc",)),
        ("app/__pycache__/main.cpython-312.pyc", ("/app/__pycache__/main.cpython-312.pyc",)),
        (f"{SITE}/api.pyc", ("-m", "api")),
        (f"{SITE}/api/__main__.pyc", ("-m", "api")),
    ],
)
def test_what_is_started_is_of_another_version(path: str, cmd: tuple[str, ...]) -> None:
    files: Files = {path: pyc(0, 0, magic=3531), "app/main.py": File(b"")}
    if "/api/" in path:
        files[f"{SITE}/api/__init__.py"] = File(b"")
    (row,) = found(make_subject(files, cmd=cmd), "STA021")
    assert (row.path, row.severity) == (f"/{path}", ERROR)
    assert ids(make_subject(files | {path: pyc(0, 0)}, cmd=cmd), "STA021") == []


@pytest.mark.parametrize(
    ("more", "rule", "severity", "evidence"),
    [
        ("PYTHONPYCACHEPREFIX=/cache", "STA003", WARNING, "PYTHONPYCACHEPREFIX=/cache, which is not in the image"),
        ("PYTHONHOME=/usr/local", "STA004", ERROR, "PYTHONHOME=/usr/local: it has lib/python3.12, not lib/python3.13"),
        ("PYTHONHOME=/nowhere", "STA004", ERROR, "PYTHONHOME=/nowhere: it has no lib/python3.13"),
        ("PYTHONHOME=/usr", "", NOTE, ""),
        ("PYTHONSTARTUP=/x.py", "STA005", NOTE, "PYTHONSTARTUP=/x.py: the file is not in the image"),
        ("PYTHONPATH=/usr:/x", "STA005", NOTE, "PYTHONPATH=/usr:/x: /x is not in the image"),
        ("PATH=", "STA006", NOTE, "PATH is not set; engines take /usr/local/sbin:/usr/local/bin:"),
        ("SSL_CERT_FILE=/x.pem", "STA007", WARNING, "SSL_CERT_FILE=/x.pem: it is not in the image"),
        ("SSL_CERT_DIR=/x:/y", "STA007", WARNING, "SSL_CERT_DIR=/x:/y: it is not in the image"),
        ("LD_PRELOAD=/x.so", "STA009", WARNING, "LD_PRELOAD=/x.so: /x.so is not in the image"),
        ("LD_PRELOAD=libx.so", "", NOTE, ""),
        ("LD_LIBRARY_PATH=/usr:/x", "STA009", NOTE, "LD_LIBRARY_PATH=/usr:/x: /x is not in the image"),
        ("HOME=/data", "STA016", NOTE, "HOME of the user nonroot: it is not in the image"),
        ("PYTHONDONTWRITEBYTECODE=1", "", NOTE, ""),
        ("PYTHONUTF8=true", "STA022", ERROR, "PYTHONUTF8=true: Python 3.13 wants 0 or 1"),
        ("PYTHONMALLOC=foo", "STA022", ERROR, "PYTHONMALLOC=foo: Python 3.13 wants one of debug, default, malloc,"),
    ],
)
def test_variables(more: str, rule: str, severity: Severity, evidence: str) -> None:
    files: Files = {
        f"{STDLIB}/encodings/__init__.py": File(b""),
        "usr/local/lib/python3.12/encodings/__init__.py": File(b""),
    }
    rows = found(make_subject(files, env=(*BASE_ENV, more)), "STA")
    assert [(row.rule, row.severity) for row in rows] == ([(rule, severity)] if rule else [])
    assert not rows or rows[0].evidence.startswith(evidence)


@pytest.mark.parametrize(
    ("option", "variable", "rules"),
    [
        ("-E", "PYTHONUTF8=x", []),
        ("-I", "PYTHONHASHSEED=x", []),
        ("-R", "PYTHONHASHSEED=x", []),
        ("-R", "PYTHONUTF8=x", ["STA022"]),
        ("-Xutf8", "PYTHONUTF8=x", []),
        ("-Xdev", "PYTHONMALLOC=x", ["STA022"]),
    ],
)
def test_values_that_options_keep_away(option: str, variable: str, rules: list[str]) -> None:
    assert ids(make_subject(entrypoint=(PYTHON, option), env=(*BASE_ENV, variable)), "STA") == rules


@pytest.mark.parametrize(
    ("options", "evidence"),
    [
        (("-X", "utf8=2"), "-X utf8=2: Python 3.13 wants 0 or 1"),
        (("-Xutf8=",), "-X utf8=: Python 3.13 wants 0 or 1"),
        (("-I", "-Xtracemalloc=x"), "-X tracemalloc=x: Python 3.13 wants a number of frames up to 65535"),
        (("-Xfrozen_modules=maybe",), "-X frozen_modules=maybe: Python 3.13 wants on or off"),
        (("-Xint_max_str_digits",), "-X int_max_str_digits: Python 3.13 wants 0, or a number from 640 on"),
        (("-Xcpu_count=0",), "-X cpu_count=0: Python 3.13 wants default, or a number from 1 on"),
        (("-Xgil=2",), "-X gil=2: Python 3.13 wants 1"),
        (("-X", "utf8=2", "-X", "utf8=1"), "-X utf8=2: Python 3.13 wants 0 or 1"),
        (("-X", "utf8=1", "-X", "utf8=2"), ""),
        *[((f"-X{row}",), "") for row in ("utf8", "tracemalloc", "tracemalloc=", "frozen_modules", "frozen_modules=")],
        *[((f"-X{row}",), "") for row in ("int_max_str_digits=", "int_max_str_digits=0", "cpu_count=default", "gil=1")],
        *[((f"-X{row}",), "") for row in ("importtime=3", "dev", "nonsense=1", "perf=x")],
        (("-W", "utf8=2"), ""),
    ],
)
def test_values_of_options(options: tuple[str, ...], evidence: str) -> None:
    """As the default base's interpreter was seen to take or refuse them."""
    rows = found(make_subject(entrypoint=(PYTHON, *options)), "STA022")
    assert [row.evidence for row in rows] == ([evidence] if evidence else [])


def test_an_encoding_that_only_the_image_has() -> None:
    files: Files = {f"{STDLIB}/encodings/future_8.py": File(b"")}
    assert ids(make_subject(files, env=(*BASE_ENV, "PYTHONIOENCODING=Future-8")), "STA") == []
    assert ids(make_subject(env=(*BASE_ENV, "PYTHONIOENCODING=Future-8")), "STA") == ["STA022"]


def test_variables_that_options_keep_away() -> None:
    assert ids(make_subject(entrypoint=(PYTHON, "-I"), env=(*BASE_ENV, "PYTHONHOME=/nowhere")), "STA") == []


def test_the_env_of_the_base_that_was_dropped() -> None:
    rows = found(make_subject(env=("PATH=/usr/bin",)))
    assert [row.rule for row in rows] == ["STA007", "STA008"]
    assert rows[0].fix == "set SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"
    without = [{path: row for path, row in files.items() if not path.startswith("etc/ssl")} for files in base()]
    rows = found(make_subject(below=tuple(without), env=BASE_ENV[:1] + BASE_ENV[2:]))
    assert [(row.rule, row.severity) for row in rows] == [("STA007", NOTE)]
    certifi: Files = {
        f"{SITE}/certifi-1.dist-info/METADATA": File(b""),
        f"{SITE}/certifi-1.dist-info/RECORD": File(b""),
    }
    assert ids(make_subject(certifi, below=tuple(without), env=BASE_ENV[:1] + BASE_ENV[2:]), "STA") == []


def test_users_without_a_name() -> None:
    (row,) = found(make_subject(user="1234", working_dir="/"))
    assert (row.rule, row.severity) == ("STA010", WARNING)
    assert row.evidence == "the uid 1234 is not in /etc/passwd, and Env does not set USER and HOME"
    env = (*BASE_ENV, "HOME=/tmp", "USER=app")
    assert ids(make_subject(user="1234", env=env, working_dir="/")) == []


@pytest.mark.parametrize("user", ["app", "nonroot:app", "0:app"])
def test_users_that_are_not_there(user: str) -> None:
    (row,) = found(make_subject(user=user))
    assert (row.rule, row.severity, row.evidence) == (
        "STA011",
        ERROR,
        f"User is {user}, which /etc/passwd or /etc/group does not have",
    )


@pytest.mark.parametrize("user", ["", "root", "0", "0:0", "nonroot", "nonroot:staff", "65532:0"])
def test_users_that_are(user: str) -> None:
    assert found(make_subject(user=user)) == ()


def test_homes() -> None:
    assert [(row.rule, row.path) for row in found(make_subject(user="nobody", working_dir="/"))] == [
        ("STA016", "/nonexistent")
    ]
    (row,) = found(make_subject({"home/nonroot": Folder(0o755)}))
    assert (row.rule, row.severity) == ("STA016", NOTE)
    assert row.evidence == "HOME of the user nonroot (65532): mode 0755, owner 0:0"


@pytest.mark.parametrize(
    ("path", "severity"), [("/srv", NOTE), ("/etc/passwd", ERROR), ("/root", NOTE), ("/tmp", None)]
)
def test_working_directories(path: str, severity: Severity | None) -> None:
    rows = found(make_subject(working_dir=path), "STA")
    assert [(row.rule, row.severity) for row in rows] == ([("STA012", severity)] if severity else [])


@pytest.mark.parametrize(
    ("test", "rule", "evidence"),
    [
        (("CMD-SHELL", "curl -f http://localhost/"), "STA013", "it is 'curl -f http://localhost/' for /bin/sh, which"),
        (("CMD", "curl", "-f", "x"), "STA014", "it is curl -f x: curl is not in the image"),
        (("CMD", "/bin/sh", "-c", "x"), "STA014", "it is /bin/sh -c x: /bin/sh, a shell is not in the image"),
        (("CMD", "python3", "/app/health.py"), "STA014", "it is python3 /app/health.py: /app/health.py is not in the"),
        (
            ("CMD", "python3", "/usr/bin/python3"),
            "STA014",
            "it is python3 /usr/bin/python3: /usr/bin/python3 is a prog",
        ),
        (("CMD", "/app/check"), "STA014", "it is /app/check: its shebang's /bin/sh, a shell is not in the image"),
        (("CMD", "python3", "-c", "1"), "", ""),
        (("CMD", "/app/fine"), "", ""),
        (("NONE",), "", ""),
        ((), "", ""),
    ],
)
def test_health_checks(test: tuple[str, ...], rule: str, evidence: str) -> None:
    files: Files = {
        "app/check": File(b"#!/bin/sh\n", 0o755),
        "app/fine": File(f"#!{PYTHON}\n".encode(), 0o755),
        "usr/bin/python3": Link(PYTHON),
    }
    rows = found(make_subject(files, healthcheck=Healthcheck(test=test)))
    assert [(row.rule, row.severity) for row in rows] == ([(rule, ERROR)] if rule else [])
    assert not rows or rows[0].evidence.startswith(evidence)
    shell: Files = {"bin/sh": File(make_elf(), 0o755)}
    assert "STA013" not in ids(make_subject(shell, healthcheck=Healthcheck(test=test)))


def test_no_folder_for_temporary_files() -> None:
    (row,) = found(make_subject({"tmp": Folder(0o755)}, working_dir="/"))
    assert (row.rule, row.evidence) == ("STA015", "the user nonroot can write to none of /tmp, /var/tmp, /usr/tmp, /")
    assert ids(make_subject({"tmp": Folder(0o755)}, working_dir="/", volumes=("/tmp",))) == []
    env = (*BASE_ENV, "TMPDIR=/home/nonroot")
    assert ids(make_subject({"tmp": Folder(0o755)}, working_dir="/", env=env)) == []


@pytest.mark.parametrize(("rule", "word"), [("STA017", "SIGTERM"), ("STA018", "/busybox/sh"), ("STA019", "md4")])
def test_what_is_only_explained(rule: str, word: str) -> None:
    row = BY_ID[rule]
    assert row.look is None
    assert word in f"{row.title} {row.symptom} {row.why}"
