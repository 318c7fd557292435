"""Engines of our own beside the machine's: a dockerd that may be stopped and killed, and Podman's service."""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Without systemd, and in a container, there are no cgroups to put a container into, no limits that could be raised,
# and no network but the machine's own. What a container gets to see is the same.
_CONTAINERS_CONF = """\
[containers]
default_ulimits = []
pids_limit = 0
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


@dataclass
class Daemon:
    """A dockerd with folders of its own below ``folder``, reached at ``url``."""

    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/engine.sock"

    @property
    def environment(self) -> dict[str, str]:
        """What makes dpbuild take it."""
        return {"DOCKER_HOST": self.url, "DOCKER_CONTEXT": "", "CONTAINER_HOST": "unix:///nowhere"}

    def start(self) -> None:
        """Start it; what a killed one left may keep the first try from coming up on a busy machine."""
        try:
            self._start()
        except pytest.fail.Exception:
            _end_all(str(self.folder))
            self._start()

    def _start(self) -> None:
        # In a network of its own: with --bridge=none a dockerd removes docker0, which may be another one's.
        words = [
            "unshare",
            "--net",
            "dockerd",
            "--data-root",
            self.folder / "data",
            "--exec-root",
            self.folder / "exec",
        ]
        words += ["--pidfile", self.folder / "pid", "-H", self.url, "--bridge=none", "--iptables=false"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*words, "--ip6tables=false"], stdout=log, stderr=log)
        _wait(self.folder / "engine.sock", self.process, self.folder / "log")

    def client(self) -> Any:
        import docker

        return docker.APIClient(self.url, version="auto", timeout=10)

    def running(self) -> list[str]:
        """The containers that run in it."""
        with contextlib.closing(self.client()) as client:
            return [str(row["Id"]) for row in client.containers()]

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash does; what it started goes on, as after a crash."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(30)
        (self.folder / "pid").unlink(missing_ok=True)

    def end(self) -> None:
        """End all of it, whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            self.process.kill()
            self.process.wait(30)
        _end_all(str(self.folder))
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", line.split()[1]], check=False)


def _end_all(word: str) -> None:
    """Kill what was started with the word in its command line: containerd, and what keeps containers; and what those
    keep, which would go on without anybody.
    """
    keepers = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"containerd" in words[0] and any(word.encode() in row for row in words[1:]):
                keepers.add(int(folder.name))
    for pid in (*keepers, *_children(keepers)):
        with contextlib.suppress(OSError), os.fdopen(os.pidfd_open(pid)) as one:
            os.kill(pid, signal.SIGKILL)
            # It is readable when that has happened.
            select.select([one], [], [], 30)


def _children(parents: set[int]) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The parent is the second field behind the name, which may hold anything (proc(5)).
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) in parents:
                found.append(int(folder.name))
    return found


def _wait(path: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until somebody answers at the socket; one who listens may still be at what it found when it was started."""
    for _ in range(300):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(30)
            probe.connect(str(path))
            probe.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
            if b" 200 " in probe.recv(4096):
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    pytest.fail(f"the engine does not start: {log.read_text()[-2000:]}")


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for names of sockets, which have to be short (unix(7))."""
    folder = Path(tempfile.mkdtemp(prefix="dpb-", dir="/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def own_daemon(folder: Path) -> Iterator[Daemon]:
    """A dockerd of our own that runs; its data lie below ``folder``."""
    daemon = Daemon(folder)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.end()


@contextlib.contextmanager
def podman_service(folder: Path) -> Iterator[str]:
    """``podman system service`` with a store of its own below ``folder``; gives the address of its socket."""
    (folder / "containers.conf").write_text(_CONTAINERS_CONF + ('runtime = "runc"\n' if shutil.which("runc") else ""))
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/data"\nrunroot = "{folder}/run"\n'
    )
    env = {
        **os.environ,
        # What is imported into it stays there.
        "TMPDIR": str(folder),
        "CONTAINERS_CONF": f"{folder}/containers.conf",
        "CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf",
    }
    url = f"unix://{folder}/podman.sock"
    with (folder / "log").open("wb") as log:
        words = ["podman", "system", "service", "--time=0", url]
        process = subprocess.Popen(words, stdout=log, stderr=log, env=env)
    _wait(folder / "podman.sock", process, folder / "log")
    try:
        yield url
    finally:
        process.terminate()
        process.wait(30)
        subprocess.run(["podman", "rm", "--all", "--force", "--time=0"], env=env, capture_output=True, check=False)
        subprocess.run(["umount", f"{folder}/data/overlay"], capture_output=True, check=False)
