"""Builds in an engine that ends, or stops answering, in the middle: one error, nothing half-made, and the next one works."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench import Bench, bare, bench, files
from engines import Daemon, own_daemon, short_folder
from machinery import ComposedBase, Ran
from wholeness import check_clean, check_store

from dpbuild.adapters.sandbox.connect import EngineSettings, connect
from dpbuild.adapters.sandbox.engine import EngineSandbox
from dpbuild.errors import SandboxError
from dpbuild.ports.sandbox import Job

__all__ = ["bare", "bench"]

pytestmark = [pytest.mark.docker, pytest.mark.network]

# A backend without requirements, which waits as long as there is a file in the project.
BACKEND = """\
import base64, hashlib, os, time, zipfile

def build_wheel(folder, settings=None, metadata=None):
    print("at work", flush=True)
    while os.path.exists("wait"):
        time.sleep(0.1)
    info = "app-1.dist-info/"
    files = {
        "main.py": open("main.py").read(),
        info + "METADATA": "Metadata-Version: 2.1\\nName: app\\nVersion: 1\\n",
        info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    record = info + "RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(folder, "app-1-py3-none-any.whl"), "w") as wheel:
        for name, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\\n"
            wheel.writestr(name, text)
        wheel.writestr(info + "RECORD", record)
    return "app-1-py3-none-any.whl"
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with short_folder() as folder, own_daemon(folder) as started:
        yield started


@pytest.fixture
def waiting(bench: Bench) -> Bench:
    """A project whose backend waits."""
    (bench.project / "wait").touch()
    bench.build_by(BACKEND)
    return bench


def start(bench: Bench, daemon: Daemon) -> "subprocess.Popen[str]":
    """A build by that engine."""
    return subprocess.Popen(
        [sys.executable, "-m", "dpbuild", "build", str(bench.project), "-o", str(bench.output), "--builder", "docker"],
        env={**os.environ, **bench.environment, **daemon.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def in_the_middle(process: "subprocess.Popen[str]", daemon: Daemon) -> None:
    """Wait until something runs in the engine."""
    for _ in range(600):
        if process.poll() is not None:
            pytest.fail(f"it ended too early: {process.communicate()[1]}")
        if daemon.running():
            return
        time.sleep(0.1)
    pytest.fail("nothing was started in the engine")


def ended(process: "subprocess.Popen[str]", seconds: float) -> Ran:
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        _, err = process.communicate()
        pytest.fail(f"it hangs: {err}")
    return Ran(process.returncode, out, err)


def forget(bench: Bench) -> None:
    """As if nothing had been built yet."""
    for name in ("app", "images"):
        shutil.rmtree(bench.cache / "maps" / name)


@pytest.mark.slow
def test_an_engine_that_is_killed_in_the_middle(waiting: Bench, daemon: Daemon) -> None:
    before = files(waiting.project)
    process = start(waiting, daemon)
    in_the_middle(process, daemon)
    daemon.kill()
    done = ended(process, 60)
    waiting.left(
        done,
        100,
        "error: the engine ended, or the connection to it broke",
        before,
        hint="start it again, or choose another --builder",
    )
    check_store(waiting.cache)
    (waiting.project / "wait").unlink()
    other = waiting.build("--builder", "bubblewrap", check=True)
    daemon.start()
    forget(waiting)
    same = waiting.build("--builder", "docker", env=daemon.environment, check=True)
    assert same.out == other.out
    assert any((waiting.cache / "maps/app").iterdir())
    check_clean(waiting.cache)


@pytest.mark.slow
def test_what_ran_in_a_killed_engine_ends_with_it(waiting: Bench) -> None:
    """It would wait for ever, and nobody else knows of it: the engine's own program is at its side until the end."""
    with short_folder() as folder:
        with own_daemon(folder) as daemon:
            process = start(waiting, daemon)
            in_the_middle(process, daemon)
            with contextlib.closing(daemon.client()) as client:
                (container,) = daemon.running()
                pid = client.inspect_container(container)["State"]["Pid"]
            assert alive(pid)
            daemon.kill()
            assert ended(process, 60).status == 100
            assert alive(pid)
        assert not alive(pid)


def alive(pid: int) -> bool:
    """Whether it runs; one that ended may be there until somebody asks for its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_an_engine_that_does_not_answer(waiting: Bench, daemon: Daemon) -> None:
    before = files(waiting.project)
    with (waiting.project / "pyproject.toml").open("a") as file:
        file.write('[tool.dpbuild.builder]\ntimeout = "1s"\n')
    process = start(waiting, daemon)
    in_the_middle(process, daemon)
    daemon.signal(signal.SIGSTOP)
    try:
        done = ended(process, 120)
    finally:
        daemon.signal(signal.SIGCONT)
    waiting.left(done, 100, "error: the engine does not answer", before, hint="start it again")
    check_store(waiting.cache)
    (waiting.project / "wait").unlink()
    waiting.build("--builder", "docker", env=daemon.environment, check=True)
    assert daemon.running() == []


@pytest.mark.slow
def test_an_engine_that_goes_silent_where_there_is_no_limit(
    daemon: Daemon, composed_base: Callable[[str], ComposedBase]
) -> None:
    base = composed_base("debian13")
    sandbox = EngineSandbox(lambda: connect(EngineSettings(host=daemon.url), "docker"), "docker", patience=2.0)

    def stop() -> None:
        while not daemon.running():
            time.sleep(0.1)
        daemon.signal(signal.SIGSTOP)

    stopping = threading.Thread(target=stop)
    stopping.start()
    try:
        with pytest.raises(SandboxError, match="the engine does not answer"):
            sandbox.run(
                Job(rootfs=base.rootfs, argv=(base.base.facts.interpreter, "-c", "import time; time.sleep(300)"))
            )
    finally:
        stopping.join()
        daemon.signal(signal.SIGCONT)
