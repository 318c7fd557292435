"""``dpbuild run``: the same program, the same output and the same status, whatever runs it."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_tools import answer
from machinery import free_port

pytestmark = [pytest.mark.network]

WAYS = {
    "docker": "running in docker",
    "bubblewrap": "running in bubblewrap",
    "none": "the base's own loader, without isolation",
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, need: Callable[..., None]) -> str:
    if request.param != "none":
        need(request.param)
    return str(request.param)


@pytest.fixture
def image(dpbuild: Callable, example: Callable[[str], Path]) -> str:
    project = example("hello")
    (project / "hello/__main__.py").write_text(
        "import os, sys\n"
        "print(sys.argv[1:], os.environ['SSL_CERT_FILE'], sys.stdin.read())\n"
        "print('to stderr', file=sys.stderr)\n"
        "sys.exit(7)\n"
    )
    return str(dpbuild("build", project).out.strip())


def test_output_arguments_and_status(dpbuild: Callable, image: str, way: str) -> None:
    done = dpbuild("run", "--builder", way, image, "--", "-x", "two words", check=False)
    assert done.status == 7
    assert done.out.startswith("['-x', 'two words'] /")
    # The loader works on the extracted files, so paths in the image are shown as they are outside.
    assert done.out.endswith("/etc/ssl/certs/ca-certificates.crt \n")
    assert "to stderr\n" in done.err
    assert WAYS[way] in done.err


def test_unknown_images_are_one_error(dpbuild: Callable, tmp_path: Path) -> None:
    done = dpbuild("run", f"oci:{tmp_path}/nothing", check=False)
    assert done.status == 92
    assert done.out == ""
    assert done.err.startswith("error: ")


@pytest.mark.docker
def test_nothing_is_left_in_the_engine(dpbuild: Callable, example: Callable[[str], Path]) -> None:
    import docker
    import docker.errors

    project = example("hello")
    with (project / "hello/__main__.py").open("a") as file:
        file.write("# An image of this test alone: the engine may be shared.\n")
    line = dpbuild("build", project).out.strip()
    layout, _, digest = line.removeprefix("oci:").rpartition("@sha256:")
    manifest = json.loads(Path(layout, "blobs/sha256", digest).read_text())
    assert "Hello" in dpbuild("run", "--builder", "docker", line).out
    client = docker.from_env()
    try:
        for name in (manifest["config"]["digest"], f"sha256:{digest}"):
            with pytest.raises(docker.errors.ImageNotFound):
                client.images.get(name)
        left = [row.id for row in client.containers.list(all=True) if manifest["config"]["digest"] in str(row.attrs)]
        assert left == []
    finally:
        client.close()


SIGNALLED = """
import os, signal, sys, time
def stop(number, frame):
    os.write(1, b"got %s\\n" % signal.Signals(number).name.encode())
    sys.exit(40 + number)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
print("ready", sys.stdin.isatty(), sys.stdout.isatty(), flush=True)
while True:
    time.sleep(0.1)
"""


@pytest.fixture
def waiting(dpbuild: Callable, example: Callable[[str], Path]) -> str:
    """An image whose program waits for a signal."""
    project = example("hello")
    (project / "hello/__main__.py").write_text(SIGNALLED)
    return str(dpbuild("build", project).out.strip())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_go_to_the_program(waiting: str, way: str, number: signal.Signals, shared_cache: Path) -> None:
    command = [sys.executable, "-m", "dpbuild", "run", "--builder", way, waiting]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DPBUILD_CACHE_DIR": str(shared_cache)},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready False False\n"
        process.send_signal(number)
        assert process.stdout.read() == f"got {number.name}\n"
        assert process.wait(30) == 40 + number
        assert "Traceback" not in process.stderr.read()


def test_a_terminal_is_the_programs_terminal(waiting: str, way: str, shared_cache: Path) -> None:
    """Typed Ctrl-C reaches the program, once, and dpbuild waits for what it does about it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["DPBUILD_CACHE_DIR"] = str(shared_cache)
        os.execv(sys.executable, [sys.executable, "-m", "dpbuild", "run", "--builder", way, waiting])
    seen = ""
    try:
        with contextlib.suppress(OSError):  # EIO: the other side has gone
            while chunk := os.read(terminal, 4096).decode():
                seen += chunk
                if "ready True True" in seen and "[typed]" not in seen:
                    os.write(terminal, b"\x03")
                    seen += "[typed]"
    finally:
        os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 40 + signal.SIGINT, seen
    assert seen.count("got SIGINT") == 1
    assert "Traceback" not in seen


SERVER = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps([os.environ["SAYS"], os.environ["LANG"], "SSL_CERT_FILE" in os.environ]).encode())
http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).handle_request()
"""


def test_a_port_and_variables(dpbuild: Callable, example: Callable, way: str, shared_cache: Path) -> None:
    """An engine lets this machine's port lead to the image's; elsewhere the two are one."""
    project = example("hello")
    (project / "hello/__main__.py").write_text(SERVER)
    with (project / "pyproject.toml").open("a") as file:
        file.write('expose = [8000]\nenv = {SAYS = "nothing", PORT = "8000"}\n')
    image = str(dpbuild("build", project).out.strip())
    here = free_port()
    inner = 8000 if way == "docker" else here
    words = ["-p", f"{here}:{inner}", "-e", "SAYS=a=b c", "-e", f"PORT={inner}", image]
    with subprocess.Popen(
        [sys.executable, "-m", "dpbuild", "run", "--builder", way, *words],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DPBUILD_CACHE_DIR": str(shared_cache)},
    ) as process:
        assert answer(f"http://127.0.0.1:{here}/") == ["a=b c", "C.UTF-8", True]
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert WAYS[way] in said
    assert "published" not in said


@pytest.mark.docker
def test_an_engine_tells_of_a_port_that_is_not_published(dpbuild: Callable, example: Callable) -> None:
    project = example("hello")
    with (project / "pyproject.toml").open("a") as file:
        file.write('expose = ["53/udp", 8000]\n')
    done = dpbuild("run", "--builder", "docker", dpbuild("build", project).out.strip())
    assert "note: nothing is published of port 8000 of the image: -p 8000 before REF does that\n" in done.err


@pytest.mark.parametrize("way", ["bubblewrap", "none"], indirect=True)
def test_without_an_engine_a_port_cannot_lead_to_another(dpbuild: Callable, image: str, way: str) -> None:
    done = dpbuild("run", "--builder", way, "-p", "8080:8000", image, check=False)
    assert done.status == 2
    assert "error: port 8080 cannot lead to port 8000: " in done.err


@pytest.mark.bubblewrap
def test_bubblewrap_gives_an_empty_working_directory_to_write_to(dpbuild: Callable, example: Callable) -> None:
    project = example("hello")
    with (project / "pyproject.toml").open("a") as file:
        program = "import os; open('here', 'w').close(); print(os.getcwd(), os.listdir('.'))"
        file.write(f'workdir = "/home/nonroot"\nentrypoint = ["-c", "{program}"]\n')
    image = dpbuild("build", project).out.strip()
    assert dpbuild("run", "--builder", "bubblewrap", image).out == "/home/nonroot ['here']\n"
    assert dpbuild("run", "--builder", "bubblewrap", image).out == "/home/nonroot ['here']\n"


@pytest.mark.docker
def test_an_image_that_the_engine_had_stays_there(dpbuild: Callable, example: Callable, tmp_path: Path) -> None:
    import docker

    tag = f"dpbuild.example/kept:{tmp_path.name.replace('_', '-')}"
    output = tmp_path / "image"
    loaded = dpbuild("build", example("hello"), "-t", tag, "--load").out.strip()
    dpbuild("build", tmp_path / "hello", "-o", output)
    client = docker.from_env()
    try:
        assert "Hello" in dpbuild("run", "--builder", "docker", f"oci:{output}", "--", "you").out
        assert "Hello" in dpbuild("run", "--builder", "docker", loaded, "--", "you").out
        assert client.images.get(tag).id == loaded.partition(":")[2]
    finally:
        client.images.remove(tag, force=True)
        client.close()


@pytest.mark.qemu
@pytest.mark.parametrize(
    "way", [pytest.param(row, marks=[] if row == "none" else pytest.mark.slow) for row in WAYS], indirect=True
)
def test_an_image_for_another_machine(dpbuild: Callable, example: Callable[[str], Path], way: str) -> None:
    project = example("hello")
    with (project / "pyproject.toml").open("a") as file:
        # The standard library takes an emulated interpreter two minutes to compile.
        file.write("bytecode = false\n")
    image = dpbuild("build", project, "--platform", "linux/arm64").out.strip()
    done = dpbuild("run", "--builder", way, "--platform", "linux/arm64", image, "--", "emulated", "you")
    assert done.out.startswith("Hello, emulated you! This is Python 3.13.5 on aarch64")
