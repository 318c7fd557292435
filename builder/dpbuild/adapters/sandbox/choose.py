"""Which sandbox there is."""

import shutil
from typing import Final

from dpbuild.adapters.sandbox.bubblewrap import BubblewrapSandbox
from dpbuild.adapters.sandbox.loader import LoaderSandbox
from dpbuild.errors import SandboxError
from dpbuild.ports.sandbox import Sandbox

KINDS: Final = ("auto", "docker", "podman", "bubblewrap", "none")


def choose(kind: str, path: str) -> Sandbox:
    """The sandbox for an extracted image: bubblewrap if it works here, else the image's own loader.

    ``path`` is PATH. ``none`` is the loader. Raises SandboxError (100) where bubblewrap is asked for and does
    not work.
    """
    if kind in ("none", "docker", "podman"):
        # Engines run images, not folders; what is built for a wheel runs without one.
        return LoaderSandbox()
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
    return LoaderSandbox()
