"""The same bytecode from every sandbox, in every run: the standard library's and that of real wheels."""

import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from machinery import ComposedBase

from dpbuild.adapters.sandbox.bubblewrap import BubblewrapSandbox
from dpbuild.adapters.sandbox.connect import EngineSettings, connect
from dpbuild.adapters.sandbox.engine import EngineSandbox
from dpbuild.adapters.sandbox.loader import LoaderSandbox
from dpbuild.ports.sandbox import Sandbox
from dpbuild.stages.bytecode import compile_sources

pytestmark = [pytest.mark.network]

# Installed beside the tests, so from real wheels.
WHEELS = ("click", "packaging", "urllib3", "docker")


def sources(base: ComposedBase) -> list[tuple[str, bytes]]:
    """Part of the base's standard library, and wheels as they are installed."""
    stdlib = Path(base.rootfs, base.base.facts.stdlib.lstrip("/"))
    found = [(f"/{path.relative_to(base.rootfs)}", path.read_bytes()) for path in stdlib.rglob("[a-m]*.py")]
    for name in WHEELS:
        for row in importlib.metadata.files(name) or ():
            if row.suffix == ".py":
                found.append((f"{base.base.facts.purelib}/{row}", Path(str(row.locate())).read_bytes()))
    assert len(found) > 300
    return found


def digest(sandbox: Sandbox, base: ComposedBase) -> tuple[int, str]:
    rows = compile_sources(sandbox, base.rootfs, base.base.facts.interpreter, sources(base), "unchecked")
    return len(rows), hashlib.sha256(repr(rows).encode()).hexdigest()


@pytest.mark.parametrize("suite", [pytest.param("debian12", marks=pytest.mark.slow), "debian13"])
def test_the_same_everywhere(
    suite: str, composed_base: Callable[[str], ComposedBase], need: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = composed_base(suite)
    first = digest(LoaderSandbox(), base)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("LC_ALL", "POSIX")
    before = os.umask(0o077)
    try:
        assert digest(LoaderSandbox(), base) == first
    finally:
        os.umask(before)
    need("bubblewrap")
    assert digest(BubblewrapSandbox(str(shutil.which("bwrap"))), base) == first
    need("docker")
    settings = EngineSettings.configured(dict(os.environ), "")
    assert digest(EngineSandbox(lambda: connect(settings, "docker"), "docker"), base) == first
