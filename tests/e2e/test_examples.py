"""Every example on both suites: built, pushed by dpbuild alone, pulled and run by Docker, and its output checked."""

import json
import os
import pwd
import re
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_tools import answer, docker
from machinery import free_port

pytestmark = [pytest.mark.network, pytest.mark.docker, pytest.mark.registry]

SUITES = {"debian12": "3.11.2", "debian13": "3.13.5"}
# Of what takes long, the older suite is for `make test-all`.
HEAVY = pytest.mark.parametrize("suite", [pytest.param("debian12", marks=pytest.mark.slow), "debian13"])


@pytest.fixture(params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pushed(dpbuild: Callable, registry: str, example: Callable[[str], Path], suite: str) -> Callable[[str], str]:
    """Build an example on the suite and push it; gives the line on stdout."""

    def push(name: str) -> str:
        tag = f"{registry}/examples/{name}:{suite}"
        done = dpbuild("build", example(name), "--base", f"compose:{suite}:nonroot", "-t", tag, "--push")
        assert re.fullmatch(rf"{re.escape(registry)}/examples/{name}@sha256:[0-9a-f]{{64}}\n", done.out)
        rows = json.loads(dpbuild("check", done.out.strip(), "--json").out)
        assert [row for row in rows if row["severity"] != "note"] == []
        assert len(rows) < 4
        return done.out.strip()

    return push


def test_hello(pushed: Callable[[str], str], suite: str) -> None:
    reference = pushed("hello")
    docker("pull", "-q", reference)
    said = docker("run", "--rm", reference, "distroless", "world")
    assert said == f"Hello, distroless world! This is Python {SUITES[suite]} on x86_64, user 65532."


@HEAVY
def test_data_reads_and_writes_parquet(pushed: Callable[[str], str], suite: str) -> None:
    reference = pushed("data")
    docker("pull", "-q", reference)
    said = docker("run", "--rm", "--read-only", "--tmpfs", "/tmp", reference)
    assert said == "1000 rows, Lima -0.1326, Oslo -0.0119"
    modules = "import numpy, pandas, pyarrow, sys; print(sys.version_info[:2], numpy.__file__, pyarrow.__cached__)"
    minor = SUITES[suite].rsplit(".", 1)[0]
    where = docker("run", "--rm", "--entrypoint", f"/usr/bin/python{minor}", reference, "-c", modules)
    assert f"/usr/local/lib/python{minor}/dist-packages/numpy/__init__.py" in where
    assert f"__pycache__/__init__.cpython-{minor.replace('.', '')}.pyc" in where


@HEAVY
def test_web_answers_and_stops(pushed: Callable[[str], str], suite: str) -> None:
    reference = pushed("web")
    docker("pull", "-q", reference)
    container = docker("run", "-d", "-p", "127.0.0.1::8000", reference)
    try:
        port = docker("port", container, "8000").splitlines()[0].rpartition(":")[2]
        about = answer(f"http://127.0.0.1:{port}/")
        assert about == {"python": SUITES[suite], "uid": 65532}
        assert answer(f"http://127.0.0.1:{port}/square/12") == {"square": 144}
        # Killed after a second, the status would be 137.
        docker("stop", "--time", "1", container)
        assert docker("inspect", "-f", "{{.State.ExitCode}}", container) == "0"
    finally:
        subprocess.run(["docker", "rm", "-f", container], capture_output=True, check=False)


@pytest.fixture
def database() -> Iterator[str]:
    """A PostgreSQL server of this machine's own, on loopback; gives its URL."""
    bin_folder = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    port = free_port()
    # As postgres wants it: not run by root, and in a folder that is its own.
    owner = pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        data = f"{folder}/data"

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [bin_folder / program, *arguments],
                user=owner.pw_uid,
                group=owner.pw_gid,
                check=True,
                cwd=folder,
                stdout=subprocess.DEVNULL,
            )

        run("initdb", "-D", data, "-U", "ann", "-A", "trust", "--no-sync")
        options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
        run("pg_ctl", "-D", data, "-l", f"{folder}/log", "-w", "-o", options, "start")
        try:
            yield f"postgresql://ann@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")


@HEAVY
@pytest.mark.slow
@pytest.mark.postgres
def test_postgres_is_asked_by_what_was_built_from_an_sdist(
    pushed: Callable[[str], str], suite: str, database: str
) -> None:
    reference = pushed("postgres")
    docker("pull", "-q", reference)
    said = docker("run", "--rm", "--network=host", "-e", f"DATABASE_URL={database}", reference)
    client = {"debian12": 15, "debian13": 17}[suite]
    assert re.fullmatch(rf"Oslo, Zürich; libpq {client}, server \d+", said)
    # libpq is Debian's, in a package of its own, and the wheel has none.
    look = (
        "import pathlib, psycopg2; site = pathlib.Path(psycopg2.__file__).parents[1];"
        "print(pathlib.Path('/var/lib/dpkg/status.d/libpq5').exists(), *site.glob('psycopg2*.libs'))"
    )
    assert docker("run", "--rm", "--entrypoint", "/usr/bin/python3", reference, "-c", look) == "True"


@pytest.mark.slow
@HEAVY
def test_document_is_a_pdf_with_its_fonts(pushed: Callable[[str], str], suite: str) -> None:
    reference = pushed("document")
    docker("pull", "-q", reference)
    made = subprocess.run(
        ["docker", "run", "--rm", "--network=none", reference, "Zoë"], capture_output=True, check=True
    )
    assert made.stdout.startswith(b"%PDF-")
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", made.stdout, re.DOTALL)
    plain = b"".join(zlib.decompressobj().decompress(row) for row in streams if row.startswith(b"x"))
    # The font is embedded, with the letters that the page has.
    assert re.search(rb"/FontName ?/[A-Z]+\+DejaVu", plain)
    assert b"FontFile" in plain
    find = (
        "from ctypes.util import find_library as find;print(*map(find, ('pango-1.0', 'c', 'ssl', 'nothing')), sep=',')"
    )
    found = docker("run", "--rm", "--entrypoint", "/usr/bin/python3", reference, "-c", find)
    assert found == "libpango-1.0.so.0,libc.so.6,libssl.so.3,None"
    read = "import pathlib; print('Version: ' in pathlib.Path('/var/lib/dpkg/status.d/libpango-1.0-0').read_text())"
    assert docker("run", "--rm", "--entrypoint", "/usr/bin/python3", reference, "-c", read) == "True"
