"""The user that an image config names, as numbers."""

from pathlib import Path

from dpbuild.adapters.rootfs import inside
from dpbuild.errors import SandboxError
from dpbuild.stages import accounts


def resolve_user(rootfs: str, user: str) -> tuple[int, int]:
    """uid and gid for ``user`` (``accounts.run_as``). Raises SandboxError for names that the image does not have."""
    known = accounts.users(_text(rootfs, "/etc/passwd"))
    try:
        found = accounts.run_as(user, known, accounts.groups(_text(rootfs, "/etc/group")))
    except LookupError as problem:
        raise SandboxError(f"the image has no {problem}", where="/etc/passwd and /etc/group") from None
    return found.uid, found.gid


def _text(rootfs: str, path: str) -> str:
    try:
        return Path(inside(rootfs, path)).read_text(errors="replace")
    except OSError:
        return ""
