"""What tests of the whole program share: the command line, a registry of our own, one store for the run."""

import contextlib
import functools
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from dpbuild.debian.package_index import PackageIndex
from dpbuild.model.base import Base


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    status: int
    out: str
    err: str


def in_process(arguments: Iterable[object], environment: dict[str, str]) -> Ran:
    """Run the command line in this process, which saves starting one."""
    from dpbuild.cli.main import main

    clean = {name: value for name, value in os.environ.items() if not name.startswith("DPBUILD_")}
    clean.pop("SOURCE_DATE_EPOCH", None)
    out, err = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    with (
        mock.patch.dict(os.environ, {**clean, **environment}, clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main([str(word) for word in arguments])
        except SystemExit as done:
            status = done.code
        finally:
            signal.signal(signal.SIGTERM, handler)
    assert isinstance(status, int)
    return Ran(status, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class ComposedBase:
    """A composed base, and the folder that its files were unpacked to."""

    rootfs: str
    base: Base


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all workers."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    path = base / "dpbuild-store"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def dpbuild(shared_cache: Path) -> Callable[..., Ran]:
    """Run the command line as a user would."""

    def run(*arguments: object, env: dict[str, str] | None = None, check: bool = True, cwd: Path | None = None) -> Ran:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DPBUILD_")}
        clean.pop("SOURCE_DATE_EPOCH", None)
        done = subprocess.run(
            [sys.executable, "-m", "dpbuild", *map(str, arguments)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            cwd=cwd,
            env={**clean, "DPBUILD_CACHE_DIR": str(shared_cache), **(env or {})},
        )
        if check and done.returncode:
            pytest.fail(f"dpbuild {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr}")
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(folder: Path, extra: str = "") -> Iterator[str]:
    """``docker-registry serve`` on loopback with its data below ``folder``; gives host:port."""
    port = free_port()
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {folder}/data\n"
        f"  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n{extra}"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            pytest.fail(f"the registry does not answer: {(folder / 'log').read_text()}")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def registry(need: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An open registry; gives host:port."""
    need("registry")
    with serving(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def locked_registry(need: Callable[..., None], tmp_path: Path) -> Iterator[str]:
    """A registry that wants user ``ann`` with password ``s3cret``."""
    need("registry")
    if shutil.which("htpasswd") is None:
        pytest.skip("htpasswd is not installed")
    folder = tmp_path / "locked"
    folder.mkdir()
    line = subprocess.run(["htpasswd", "-Bbn", "ann", "s3cret"], capture_output=True, text=True, check=True).stdout
    (folder / "htpasswd").write_text(line)
    with serving(folder, f"auth:\n  htpasswd:\n    realm: test\n    path: {folder}/htpasswd\n") as address:
        yield address


@pytest.fixture
def example(root: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of an example without what building left in it."""

    def copy(name: str) -> Path:
        left = shutil.ignore_patterns(".dpbuild", "pylock.dpbuild*", "__pycache__")
        return Path(shutil.copytree(root / "examples" / name, tmp_path / name, ignore=left))

    return copy


@pytest.fixture(scope="session")
def composed_base(need: Callable[..., None], shared_cache: Path) -> Callable[[str], ComposedBase]:
    """``composed_base("debian13")``: the composed base in the run's store, read and unpacked."""
    need("network")

    @functools.cache
    def get(suite: str) -> ComposedBase:
        from dpbuild.oci.platform import Platform
        from dpbuild.oci.reference import ComposeReference
        from dpbuild.stages.base import fetch_layers, read_base
        from dpbuild.wiring import Settings, World

        world = World(Settings(cache_dir=shared_cache, progress="none"))
        reference, platform = ComposeReference(suite=suite, variant="nonroot"), Platform("linux", "amd64")
        source = world.source(reference, (platform,))
        base = read_base(reference, source, platform, world.store, world.reporter)
        fetch_layers(source, base.manifest.layers, world.store, world.reporter)
        folder = world.unpacked(base.manifest.layers, lambda row: world.store.open(row.digest))
        return ComposedBase(folder, base)

    return get


@pytest.fixture(scope="session")
def debian_index(need: Callable[..., None]) -> Callable[[str], PackageIndex]:
    """``debian_index("debian13")``: all packages of a suite for amd64, from Debian's own mirrors."""
    need("network")

    @functools.cache
    def get(suite: str) -> PackageIndex:
        from dpbuild.debian.suites import SUITES
        from dpbuild.wiring import Settings, World

        return World(Settings(progress="none")).debian(None).index(SUITES[suite].codename, "amd64")

    return get
