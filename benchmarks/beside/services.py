"""What both sides talk to: a registry, a package index, and an engine of the benchmark's own."""

import contextlib
import hashlib
import html
import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from beside.machine import Clock, Failed, answers, disk, port, remove, run

DOCKER = os.environ.get("DOCKER") or ("/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker")


class Registry:
    """``docker-registry`` on an address of its own; what it holds can be put back to what it was."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", tls: tuple[Path, Path] | None = None) -> None:
        self._folder = folder
        self._host = host
        self._port = port(host)
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"{host}:{self._port}"
        self.data = folder / "data"

    def start(self) -> None:
        """Raises Failed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        tls = f"  tls:\n    certificate: {self._tls[0]}\n    key: {self._tls[1]}\n" if self._tls else ""
        (self._folder / "config.yml").write_text(
            f"version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {self.data}\n"
            f"http:\n  addr: {self.address}\n{tls}"
        )
        with (self._folder / "log").open("ab") as log:
            try:
                words = ["docker-registry", "serve", self._folder / "config.yml"]
                self._process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
            except OSError:
                raise Failed("there is no docker-registry program (Debian's package docker-registry)") from None
        if not answers(self._host, self._port):
            self.stop()
            raise Failed(f"docker-registry does not answer at {self.address}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait()
            self._process = None

    def keep(self) -> None:
        """What it holds now is what ``reset`` goes back to."""
        remove(self._folder / "kept")
        shutil.copytree(self.data, self._folder / "kept")

    def reset(self) -> None:
        self.stop()
        remove(self.data)
        if (self._folder / "kept").is_dir():
            shutil.copytree(self._folder / "kept", self.data)
        self.start()

    def written(self) -> int:
        """Bytes that the process has written so far, to files and answers: by how much it grows is what was uploaded,
        whether the registry had it in another repository or not. 0 where that is not told.
        """
        with contextlib.suppress(OSError, AttributeError):
            text = Path("/proc", str(self._process.pid if self._process else ""), "io").read_text()
            return int(text.partition("wchar: ")[2].split()[0])
        return 0


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


class Index:
    """The wheels of a folder by PEP 503 with metadata beside them (PEP 658), on loopback."""

    def __init__(self, folder: Path) -> None:
        self.wheels = folder / "files"
        self._folder = folder
        self.wheels.mkdir(parents=True)
        self.url = ""

    def publish(self) -> None:
        """Write the pages for what is in the folder."""
        rows: dict[str, list[str]] = {}
        for path in sorted(self.wheels.glob("*.whl")):
            beside = path.with_name(f"{path.name}.metadata")
            if not beside.exists():
                with zipfile.ZipFile(path) as archive:
                    name = next(row for row in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", row))
                    beside.write_bytes(archive.read(name))
            said = f"sha256={hashlib.sha256(beside.read_bytes()).hexdigest()}"
            rows.setdefault(re.sub(r"[-_.]+", "-", path.name.partition("-")[0]).lower(), []).append(
                f'<a href="/files/{html.escape(path.name.replace("+", "%2B"))}#sha256={sha256(path)}"'
                f' data-core-metadata="{said}" data-dist-info-metadata="{said}">{html.escape(path.name)}</a><br>\n'
            )
        for name, links in rows.items():
            page = self._folder / "simple" / name / "index.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(f"<!DOCTYPE html><html><body>\n{''.join(links)}</body></html>\n")

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(self._folder)))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}/simple/"
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Engine:
    """A Docker engine with folders of its own, where there is ``dockerd`` and one may start it; else the one that
    answers, whose disk, memory and pulls are then not measured, because others use it.
    """

    def __init__(self, folder: Path, clock: Clock, *, insecure: tuple[str, ...] = (), pigz: bool = True) -> None:
        self._folder = folder
        self._clock = clock
        self._insecure = insecure
        self._pigz = pigz
        self._process: subprocess.Popen[bytes] | None = None
        self.own = False
        config = folder / "client"
        config.mkdir(parents=True)
        # No credential helpers and contexts of whoever runs this.
        self.env = {**os.environ, "DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": str(config), "BUILDKIT_PROGRESS": "plain"}

    @property
    def data(self) -> Path:
        return self._folder / "data"

    @property
    def pids(self) -> list[int]:
        """Of the daemon, if it is ours."""
        return [self._process.pid] if self._process is not None else []

    def start(self, *, required: bool = False) -> None:
        """Raises Failed if no engine answers, or ``required`` and it is not our own."""
        program = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program and os.geteuid() == 0:
            self._start(program)
        elif required:
            raise Failed("only root can start a second dockerd")
        if not self.own:
            if required:
                raise Failed(f"a second dockerd does not start: {self._said()}")
            run([DOCKER, "version"], self._clock, env=self.env, what="docker version")

    def _start(self, program: str) -> None:
        # A socket's path has at most 107 bytes.
        place = f"unix://{self._folder}/s"
        words: list[object] = [program, "--data-root", self.data, "--exec-root", self._folder / "exec", "-H", place]
        words += ["--pidfile", self._folder / "pid", "--iptables=false", "--ip6tables=false"]
        words += [f"--insecure-registry={row}" for row in self._insecure]
        env = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
        env |= {} if self._pigz else {"MOBY_DISABLE_PIGZ": "true"}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(word) for word in words], env=env, stdout=log, stderr=log, start_new_session=True
            )
        env = {**self.env, "DOCKER_HOST": place}
        for _ in range(150):
            if self._process.poll() is not None:
                break
            if subprocess.run([DOCKER, "version"], env=env, capture_output=True, check=False).returncode == 0:
                self.own, self.env = True, env
                return
            time.sleep(0.2)
        self.stop()

    def _said(self) -> str:
        with contextlib.suppress(OSError, IndexError):
            return (self._folder / "log").read_text().splitlines()[-1][:200]
        return "dockerd said nothing"

    def stop(self) -> None:
        """End it, if it is ours; its containerd ends with it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self, *, pigz: bool) -> None:
        """As it was, with or without unpigz. Raises Failed."""
        if not self.own:
            raise Failed("the engine is not our own")
        self.stop()
        self._pigz, self.own = pigz, False
        self.start(required=True)

    def docker(self, *words: object, what: str = "") -> str:
        """The docker command. Raises Failed, OutOfTime."""
        return run([DOCKER, *words], self._clock, env=self.env, what=what or f"docker {words[0]}")

    def used(self) -> int | None:
        return disk(self.data) if self.own else None


def outside() -> str:
    """An address of this machine that is not loopback; loopback if it has none."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Connecting a datagram socket sends nothing.
        probe.connect(("198.51.100.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"


def certificate(folder: Path, host: str, clock: Clock) -> tuple[Path, Path, Path]:
    """A CA of our own, and a certificate with its key for an address. Raises Failed."""
    folder.mkdir(parents=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca, ours = folder / "ca.pem", folder / "server.pem"
    run(
        ["openssl", "req", "-x509", *key, "-keyout", folder / "ca.key", "-out", ca, "-days", "2", "-subj",
         "/CN=benchmark", "-addext", "keyUsage=critical,keyCertSign"], clock,
    )  # fmt: skip
    run(
        ["openssl", "req", *key, "-keyout", folder / "server.key", "-out", folder / "csr", "-subj", f"/CN={host}"],
        clock,
    )
    (folder / "ext").write_text(f"subjectAltName=IP:{host}\n")
    run(
        ["openssl", "x509", "-req", "-in", folder / "csr", "-CA", ca, "-CAkey", folder / "ca.key", "-CAcreateserial",
         "-days", "2", "-extfile", folder / "ext", "-out", ours], clock,
    )  # fmt: skip
    return ca, ours, folder / "server.key"
