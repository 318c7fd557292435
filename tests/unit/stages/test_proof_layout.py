"""LAY: where packages and files lie, and whether that is where they are looked for."""

import hashlib
import json

import pytest
from factories.elf import make_elf
from factories.image import Content, File, Files, Folder, Link
from factories.subject import BASE_ENV, PYTHON, SITE, STDLIB, found, ids, make_subject

from dpbuild.model.finding import Finding, Severity

VENV = "app/.venv"


def dist(site: str, name: str = "six", version: str = "1.0") -> Files:
    return {
        f"{site}/{name}.py": File(b""),
        f"{site}/{name}-{version}.dist-info/METADATA": File(b"Name: x\n"),
        f"{site}/{name}-{version}.dist-info/RECORD": File(b""),
    }


def venv(target: str = PYTHON, minor: str = "3.13") -> Files:
    return {
        f"{VENV}/pyvenv.cfg": File(b"home = /usr/local/bin\nversion = 3.13\n"),
        f"{VENV}/bin/python": Link(target),
        f"{VENV}/bin/python3": Link("python"),
        f"{VENV}/bin/serve": File(f"#!/{VENV}/bin/python\n".encode(), 0o755),
        **dist(f"{VENV}/lib/python{minor}/site-packages"),
    }


def only(rows: tuple[Finding, ...]) -> Finding:
    assert len(rows) == 1, rows
    return rows[0]


@pytest.mark.parametrize(
    ("site", "severity", "evidence"),
    [
        (SITE, None, ""),
        ("usr/lib/python3/dist-packages", None, ""),
        (
            "usr/lib/python3.13/site-packages",
            Severity.ERROR,
            "packages belong into /usr/local/lib/python3.13/dist-packa",
        ),
        ("usr/local/lib/python3.13/site-packages", Severity.ERROR, "packages belong into"),
        (
            "usr/local/lib/python3.12/site-packages",
            Severity.ERROR,
            "which is Python 3.13.5; the folder is for Python 3.12",
        ),
        ("root/.local/lib/python3.13/site-packages", Severity.WARNING, "runs as nonroot with HOME=/home/nonroot"),
        ("home/nonroot/.local/lib/python3.13/site-packages", None, ""),
        ("srv/packages", Severity.WARNING, "packages belong into"),
        ("opt/x/lib/python3.13/site-packages", Severity.WARNING, "packages belong into"),
        ("root/.cache/uv/archive-v0/abc", None, ""),
        (f"{SITE}/setuptools/_vendor", None, ""),
        ("home/nonroot", None, ""),
    ],
)
def test_packages_outside_of_the_path(site: str, severity: Severity | None, evidence: str) -> None:
    rows = found(make_subject(dist(site), cmd=("-m", "json.tool"), user="65532"), "LAY")
    assert [(row.rule, row.path, row.severity) for row in rows] == (
        [("LAY001", f"/{site}", severity)] if severity else []
    )
    assert not rows or evidence in rows[0].evidence


def test_pythonpath_makes_it_right() -> None:
    files = dist("usr/lib/python3.13/site-packages")
    assert ids(make_subject(files, env=(*BASE_ENV, "PYTHONPATH=/usr/lib/python3.13/site-packages"))) == []


def test_packages_of_another_python() -> None:
    files = dist("usr/local/lib/python3.12/site-packages")
    assert ids(make_subject(files | {"usr/local/bin/python3.12": File(make_elf(), 0o755)})) == []


def test_development_leftovers_are_no_installations() -> None:
    assert ids(make_subject({"app/src/api.egg-info/PKG-INFO": File(b"Name: api\n")})) == []


def test_an_environment_that_nothing_starts() -> None:
    row = only(found(make_subject(venv())))
    assert (row.rule, row.severity) == ("LAY001", Severity.WARNING)
    assert row.evidence.endswith("which does not start in the virtual environment /app/.venv")
    assert row.fix.startswith("start /app/.venv/bin/python")
    assert ids(make_subject(venv(), entrypoint=("/app/.venv/bin/serve",))) == []
    assert ids(make_subject(venv(), entrypoint=("/app/.venv/bin/python", "-m", "six"))) == []


def test_an_environment_whose_python_is_elsewhere() -> None:
    files = venv("/usr/local/bin/python3.13")
    rows = found(make_subject(files, entrypoint=("/app/.venv/bin/serve",)))
    assert [(row.rule, row.severity) for row in rows] == [("LAY002", Severity.ERROR), ("SCR001", Severity.ERROR)]
    assert rows[0].evidence == (
        "bin/python is a link to /usr/local/bin/python3.13, which leads nowhere; it was made with the Python in"
        " /usr/local/bin"
    )
    rows = found(make_subject(files))
    assert [(row.rule, row.severity) for row in rows] == [("LAY002", Severity.WARNING), ("SCR001", Severity.WARNING)]


def test_an_active_environment_that_is_not_there() -> None:
    row = only(found(make_subject(env=(*BASE_ENV, "VIRTUAL_ENV=/opt/venv"))))
    assert (row.rule, row.path, row.severity) == ("LAY002", "Env", Severity.WARNING)


def test_an_environment_of_another_version() -> None:
    row = only(found(make_subject(venv(minor="3.12"), entrypoint=("/app/.venv/bin/serve",))))
    assert (row.rule, row.severity) == ("LAY003", Severity.ERROR)
    assert row.evidence == f"its packages are in lib/python3.12, but its bin/python is {PYTHON}, Python 3.13.5"
    assert only(found(make_subject(venv(minor="3.12")))).severity == Severity.WARNING


def test_pth_files_on_pythonpath() -> None:
    files = dist("deps") | {"deps/distutils-precedence.pth": File(b"import os\n"), "deps/sub/x.pth": File(b"y")}
    row = only(found(make_subject(files, env=(*BASE_ENV, "PYTHONPATH=/deps:/nowhere")), "LAY"))
    assert (row.rule, row.path) == ("LAY004", "/deps/distutils-precedence.pth")
    assert row.evidence.endswith("where .pth files have no effect: import os")
    inside = dist(SITE) | {f"{SITE}/x.pth": File(b"import os\n")}
    assert ids(make_subject(inside, env=(*BASE_ENV, f"PYTHONPATH=/{SITE}"))) == []


def package(path: str, data: bytes, name: str = "libc6") -> Files:
    """A file of a Debian package, and the record of it."""
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return {path: File(data), f"var/lib/dpkg/status.d/{name}.md5sums": File(f"{md5}  {path}\n".encode())}


def test_files_of_the_base_that_were_replaced() -> None:
    below = package("usr/lib/x/libz.so.1", b"of the package", "zlib1g")
    row = only(found(make_subject(below, {"lib/x/libz.so.1": File(b"mine")}), "LAY"))
    assert (row.rule, row.path, row.severity) == ("LAY005", "/usr/lib/x/libz.so.1", Severity.WARNING)
    assert row.evidence == "layer 7 replaces the file of layer 6; it is not the package's (md5)"
    assert ids(make_subject(below, {"usr/lib/x/libz.so.1": File(b"of the package")})) == []
    assert ids(make_subject(below, package("usr/lib/x/libz.so.1", b"newer", "zlib1g"))) == []
    assert ids(make_subject({"app/x": File(b"1")}, {"app/x": File(b"2")})) == []
    name = package("usr/lib/os-release", b"ID=debian\n", "base-files")
    assert ids(make_subject(name, {"usr/lib/os-release": File(b'ID="debian"\nNAME="Distroless"\n')})) == []


def test_half_of_the_c_library() -> None:
    loader, libc = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libc.so.6"
    symbols = ("GLIBC_2.2.5", "GLIBC_2.41")
    old = {path: make_elf(soname=path.rpartition("/")[2], verdef=symbols) for path in (loader, libc)}
    sums = "".join(f"{hashlib.md5(old[path], usedforsecurity=False).hexdigest()}  {path}\n" for path in old)
    below: Files = {**old, "var/lib/dpkg/status.d/libc6.md5sums": File(sums.encode())}
    text = b"GNU C Library (Debian GLIBC 2.41-1) stable release version 2.41.\n"
    new = make_elf(soname="libc.so.6", verdef=symbols, payload=text)
    row = only(found(make_subject(below, {libc: new}), "LAY"))
    assert (row.rule, row.path, row.severity) == ("LAY005", f"/{libc}", Severity.ERROR)
    assert row.evidence.endswith("the loader is still the base's, and the two must be of one build")
    both = found(make_subject(below, {libc: new, loader: make_elf(payload=b"new")}), "LAY")
    assert [row.severity for row in both] == [Severity.WARNING, Severity.WARNING]


@pytest.mark.parametrize(
    ("files", "path", "severity"),
    [
        ({"priv": Folder(0o700), "priv/main.py": File(b"1")}, "/priv", Severity.ERROR),
        ({"priv/main.py": File(b"1", 0o600)}, "/priv/main.py", Severity.ERROR),
        ({"priv/main.py": File(b"1", 0o600, 65532)}, "", None),
        ({"priv": Folder(0o750, 0, 65532), "priv/main.py": File(b"1", 0o640, 0, 65532)}, "", None),
        ({"priv/main.py": File(b"1"), "priv/data": File(b"1", 0o600)}, "/priv/data", Severity.WARNING),
        (
            {"priv/main.py": File(b"1"), "priv/sub": Folder(0o600), "priv/sub/x": File(b"1", 0)},
            "/priv/sub",
            Severity.WARNING,
        ),
        ({"priv/main.py": File(b"1"), SITE: Folder(0o700)}, f"/{SITE}", Severity.ERROR),
    ],
)
def test_what_the_user_cannot_read(files: Files, path: str, severity: Severity | None) -> None:
    rows = found(make_subject(files, cmd=("/priv/main.py",)), "LAY")
    assert [(row.rule, row.path, row.severity) for row in rows] == ([("LAY006", path, severity)] if path else [])
    assert found(make_subject(files, cmd=("/priv/main.py",), user="0"), "LAY") == ()


@pytest.mark.parametrize(
    ("files", "cmd", "path", "severity"),
    [
        ({"app/api": Folder(0o700)}, ("-m", "api"), "/app/api", Severity.ERROR),
        ({"app/api/__main__.py": File(b"", 0o600)}, ("-m", "api"), "/app/api/__main__.py", Severity.ERROR),
        # To Python it is an empty package.
        ({"app/api": Folder(0o700)}, ("main.py",), "/app/api", Severity.WARNING),
        ({"app/api/__init__.py": File(b"", 0o600)}, ("main.py",), "/app/api/__init__.py", Severity.ERROR),
        (
            {"app/api/__init__.py": File(b"", 0o600), "app/api/__pycache__/__init__.cpython-313.pyc": File(bytes(16))},
            ("main.py",),
            "/app/api/__init__.py",
            Severity.WARNING,
        ),
    ],
)
def test_modules_that_the_user_cannot_read(files: Files, cmd: tuple[str, ...], path: str, severity: Severity) -> None:
    app: Files = {
        "app/main.py": File(b"import api\n"),
        "app/api": Folder(),
        "app/api/__init__.py": File(b""),
        "app/api/__main__.py": File(b""),
    }
    (row,) = found(make_subject(app | files, cmd=cmd, working_dir="/app"), "LAY006")
    assert (row.path, row.severity) == (path, severity)


@pytest.mark.parametrize(
    ("mode", "rules"), [(0o755, []), (0o744, ["LAY006"]), (0o711, ["LAY006"]), (0o700, ["LAY006"])]
)
def test_what_the_user_cannot_execute(mode: int, rules: list[str]) -> None:
    """A script has to be executable for the kernel, and readable for the interpreter."""
    files: Files = {"app/run": File(f"#!{PYTHON}\n".encode(), mode)}
    assert ids(make_subject(files, entrypoint=("/app/run",))) == rules


def test_metadata_that_is_missing() -> None:
    whole = dist(SITE) | {f"{SITE}/pkg/__init__.py": File(b"")}
    assert ids(make_subject(whole)) == []
    partly = {path: row for path, row in whole.items() if "METADATA" not in path}
    row = only(found(make_subject(partly)))
    assert (row.rule, row.path, row.severity) == ("LAY007", f"/{SITE}/six-1.0.dist-info", Severity.WARNING)
    row = only(found(make_subject({path: row for path, row in whole.items() if "dist-info" not in path})))
    assert (row.rule, row.path, row.severity) == ("LAY007", f"/{SITE}", Severity.NOTE)


def test_a_wheel_that_was_only_unpacked() -> None:
    files = dist(SITE) | {f"{SITE}/six-1.0.data/scripts/tool": File(b"#!python\n")}
    row = only(found(make_subject(files)))
    assert (row.rule, row.evidence) == ("LAY008", "it holds scripts, which belong elsewhere")


def test_two_versions() -> None:
    row = only(found(make_subject(dist(SITE), dist(SITE, version="2.0"))))
    assert (row.rule, row.evidence) == ("LAY009", f"/{SITE} has six-1.0.dist-info, six-2.0.dist-info")
    assert ids(make_subject(dist(SITE), dist("usr/lib/python3/dist-packages", version="2.0"))) == []


def direct_url(folder: str, *, editable: bool = True) -> Content:
    return File(json.dumps({"url": f"file://{folder}", "dir_info": {"editable": editable}}).encode())


@pytest.mark.parametrize(
    ("files", "evidence"),
    [
        ({"__editable__.api-1.pth": b"/src/api\n"}, "it leads to /src/api, which"),
        ({"_api.pth": b"/src\n"}, "it leads to /src, which"),
        ({"easy-install.pth": b"/src\n"}, "it leads to /src, which"),
        ({"__editable___api_1_finder.py": b"MAPPING: dict[str, str] = {'api': '/src/api'}\n"}, "it leads to /src/api"),
        ({"api.egg-link": b"/src\n.\n"}, "it was installed from /src, which"),
        ({"other.pth": b"/src\n"}, ""),
        ({"__editable__.api-1.pth": b"/app\n"}, ""),
        ({"__editable___api_1_finder.py": b"MAPPING = {'api': '/app/api', 'one': '/app/one'}\n"}, ""),
    ],
)
def test_editable_installs(files: dict[str, bytes], evidence: str) -> None:
    there: Files = {"app/api/__init__.py": File(b""), "app/one.py": File(b"")}
    rows = found(make_subject(there | {f"{SITE}/{name}": File(data) for name, data in files.items()}), "LAY")
    assert [row.rule for row in rows] == (["LAY010"] if evidence else [])
    assert not rows or rows[0].evidence.startswith(evidence)


def test_editable_installs_say_so_themselves() -> None:
    files = dist(SITE) | {f"{SITE}/six-1.0.dist-info/direct_url.json": direct_url("/src")}
    assert only(found(make_subject(files))).severity is Severity.WARNING
    row = only(found(make_subject(files | {f"{SITE}/six.pth": File(b"/src/lib\n")})))
    assert (row.path, row.severity) == (f"/{SITE}/six.pth", Severity.ERROR)
    plain = dist(SITE) | {f"{SITE}/six-1.0.dist-info/direct_url.json": direct_url("/src", editable=False)}
    assert ids(make_subject(plain)) == []


@pytest.mark.parametrize(
    ("files", "config", "severity"),
    [
        ({"app/queue.py": b""}, {"cmd": ("/app/main.py",)}, Severity.WARNING),
        ({"app/json/__init__.py": b""}, {"cmd": ("/app/main.py",)}, Severity.WARNING),
        ({"app/json/data.txt": b""}, {"cmd": ("/app/main.py",)}, None),
        ({"app/test/__init__.py": b""}, {"cmd": ("/app/main.py",)}, None),
        ({"app/queue.py": b""}, {"cmd": ("-P", "/app/main.py")}, None),
        ({"app/types.py": b""}, {"cmd": ("/app/main.py",)}, Severity.WARNING),
        ({"app/types.py": b""}, {"cmd": ("-m", "main"), "working_dir": "/app"}, Severity.ERROR),
        ({"app/queue.py": b""}, {"cmd": ("-m", "main"), "working_dir": "/app"}, Severity.WARNING),
        ({"app/queue.py": b""}, {"working_dir": "/app"}, None),
        ({"lib/encodings/__init__.py": b""}, {"env": (*BASE_ENV, "PYTHONPATH=/lib")}, Severity.ERROR),
        ({"lib/random.py": b""}, {"env": (*BASE_ENV, "PYTHONPATH=/lib")}, Severity.WARNING),
        ({f"{SITE}/queue.py": b""}, {}, None),
    ],
)
def test_modules_of_the_standard_library_that_are_hidden(
    files: dict[str, bytes], config: dict[str, tuple[str, ...]], severity: Severity | None
) -> None:
    images: Files = {"app/main.py": File(b""), **{path: File(data) for path, data in files.items()}}
    rows = found(make_subject(images, **config), "LAY")
    assert [(row.rule, row.severity) for row in rows] == ([("LAY011", severity)] if severity else [])


def test_eggs() -> None:
    row = only(found(make_subject({f"{SITE}/six-1-py3.13.egg": File(b"PK")})))
    assert (row.rule, row.severity) == ("LAY012", Severity.WARNING)
    linked: Files = {
        f"{SITE}/six-1-py3.13.egg": File(b"PK"),
        f"{SITE}/easy-install.pth": File(b"./six-1-py3.13.egg\n"),
    }
    assert only(found(make_subject(linked))).severity is Severity.NOTE


def test_rights_that_nobody_needs() -> None:
    files: Files = {"usr/bin/su": File(b"x", 0o4755), "app/data": Folder(0o777), "tmp/x": File(b"", 0o666)}
    rows = found(make_subject(files))
    assert [(row.rule, row.path) for row in rows] == [("LAY013", "/app/data"), ("LAY013", "/usr/bin/su")]


def test_packages_in_the_home_of_the_user() -> None:
    own = "home/nonroot/.local/lib/python3.13/site-packages"
    files = dist(SITE) | dist(own, version="0.9")
    row = only(found(make_subject(files)))
    assert (row.rule, row.path) == ("LAY014", f"/{own}/six-0.9.dist-info")
    assert ids(make_subject(dist(SITE) | dist(own))) == []
    assert ids(make_subject(files, env=(*BASE_ENV, "PYTHONNOUSERSITE=1"))) == ["LAY001"]
    assert STDLIB in "".join(make_subject(files).sys_path)
