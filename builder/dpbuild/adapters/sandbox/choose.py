"""Which sandbox there is."""

import shutil
from collections.abc import Callable
from typing import Any, Final, Literal

from dpbuild.adapters.sandbox.bubblewrap import BubblewrapSandbox
from dpbuild.adapters.sandbox.loader import LoaderSandbox
from dpbuild.errors import SandboxError
from dpbuild.ports.sandbox import Sandbox

KINDS: Final = ("auto", "docker", "podman", "bubblewrap", "none")

Engine = Literal["auto", "docker", "podman"]


def choose(kind: str, path: str, connect: Callable[[Engine], Any]) -> Sandbox:
    """The sandbox for an extracted image, of those that really work here.

    ``auto`` is bubblewrap (nothing is copied), else an engine, else the image's own loader, whose ``isolates`` is
    False; ``none`` is the loader. ``path`` is PATH; ``connect`` gives a ``docker.APIClient`` of a kind of engine or
    raises SandboxError. Raises SandboxError (100) where one is asked for by name and does not work.
    """
    if kind == "none":
        return LoaderSandbox()
    if kind in ("docker", "podman"):
        return _engine("docker" if kind == "docker" else "podman", connect)
    program = shutil.which("bwrap", path=path)
    reason = "it is not installed"
    if program is not None:
        sandbox = BubblewrapSandbox(program)
        reason = sandbox.works()
        if not reason:
            return sandbox
    if kind == "bubblewrap":
        raise SandboxError(
            f"bubblewrap does not work here: {reason}",
            hint="install bubblewrap and allow user namespaces, or choose another way",
        )
    try:
        return _engine("auto", connect)
    except SandboxError:
        return LoaderSandbox()


def _engine(kind: Engine, connect: Callable[[Engine], Any]) -> Sandbox:
    from dpbuild.adapters.sandbox.connect import engine_name
    from dpbuild.adapters.sandbox.engine import EngineSandbox

    client = connect(kind)
    try:
        name = engine_name(client)
    finally:
        client.close()
    return EngineSandbox(lambda: connect(kind), name)
