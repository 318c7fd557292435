"""Fixtures that many tests share, and what they need of the machine.

``DPBUILD_TEST_REQUIRE=docker,registry,…`` turns a skip for want of one of these into a failure.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["machinery", "derived", "wheels"]

# A shell ignores SIGINT in what it starts in the background, and programs pass that on to those that they start;
# what is interrupted in the tests has to take notice.
with contextlib.suppress(ValueError):
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
REQUIRED = {word.strip() for word in os.environ.get("DPBUILD_TEST_REQUIRE", "").split(",") if word.strip()}


def _docker() -> str | None:
    try:
        import docker

        client = docker.from_env(timeout=10)
        client.ping()
        client.close()
    except Exception as problem:
        return f"no Docker engine answers: {type(problem).__name__}"
    return None


def _program(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"{name} is not installed"


def _bubblewrap() -> str | None:
    if not shutil.which("bwrap"):
        return "bwrap is not installed"
    done = subprocess.run(
        ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, check=False, timeout=20
    )
    return None if done.returncode == 0 else f"bwrap does not work here: {done.stderr.decode(errors='replace').strip()}"


def _network() -> str | None:
    """Whether the configured package index answers, as uv is configured."""
    import uv

    done = subprocess.run(
        [uv.find_uv_bin(), "pip", "compile", "--no-header", "--quiet", "-", "--no-cache"],
        input=b"iniconfig",
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, "PATH": os.path.dirname(sys.executable) + ":" + os.environ.get("PATH", "")},
    )
    return None if done.returncode == 0 else "the package index does not answer"


def _qemu() -> str | None:
    return None if Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists() else "qemu-aarch64 is not registered"


def _postgres() -> str | None:
    return (
        None if sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres")) else "PostgreSQL's server is not installed"
    )


def _sigstore() -> str | None:
    """Whether tests/servers/sigstore/make has made the programs."""
    folder = os.environ.get("DPBUILD_TEST_SIGSTORE", "")
    names = ("cosign", "fulcio", "rekor-server", "timestamp-server")
    there = bool(folder) and all(os.access(Path(folder, name), os.X_OK) for name in names)
    return None if there else "DPBUILD_TEST_SIGSTORE names no folder with Sigstore's programs"


PROBES: dict[str, Callable[[], str | None]] = {
    "docker": _docker,
    "registry": _program("docker-registry"),
    "bubblewrap": _bubblewrap,
    "skopeo": _program("skopeo"),
    "umoci": _program("umoci"),
    "podman": _program("podman"),
    "postgres": _postgres,
    "network": _network,
    "sigstore": _sigstore,
    "qemu": _qemu,
}
_known: dict[str, str | None] = {}


def why_not(name: str) -> str | None:
    """Why this need cannot be met; None if it can. Asked once per run."""
    if name not in _known:
        _known[name] = PROBES[name]()
    return _known[name]


@pytest.fixture(scope="session")
def need() -> Callable[..., None]:
    """``need("docker", "registry")``: skip with the reason, or fail if it is required."""

    def check(*names: str) -> None:
        for name in names:
            reason = why_not(name)
            if reason is not None:
                if name in REQUIRED:
                    pytest.fail(f"required by DPBUILD_TEST_REQUIRE, but {reason}")
                pytest.skip(reason)

    return check


@pytest.fixture(autouse=True)
def _marked_needs(request: pytest.FixtureRequest, need: Callable[..., None]) -> None:
    """A marker named like a need is the need."""
    for name in PROBES:
        if request.node.get_closest_marker(name) is not None:
            need(name)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
