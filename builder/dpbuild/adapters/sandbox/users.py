"""The user that an image config names, as numbers."""

from pathlib import Path

from dpbuild.adapters.rootfs import inside
from dpbuild.errors import SandboxError


def resolve_user(rootfs: str, user: str) -> tuple[int, int]:
    """uid and gid for ``user``, ``uid``, ``user:group`` and their mixtures (OCI image spec, config.md, "User").

    A uid alone has the group that ``/etc/passwd`` of the image gives it, else 0. Raises SandboxError for names
    that the image does not have.
    """
    name, _, group = user.partition(":")
    if not name:
        return 0, 0
    rows = _rows(rootfs, "/etc/passwd")
    row = next((row for row in rows if len(row) > 3 and name in (row[0], row[2])), None)
    if row is not None and row[2].isdigit() and row[3].isdigit():
        uid, gid = int(row[2]), int(row[3])
    elif name.isdigit():
        uid, gid = int(name), 0
    else:
        raise SandboxError(f"the image has no user {name!r}", where="/etc/passwd")
    if group.isdigit():
        gid = int(group)
    elif group:
        found = next((row for row in _rows(rootfs, "/etc/group") if len(row) > 2 and row[0] == group), None)
        if found is None or not found[2].isdigit():
            raise SandboxError(f"the image has no group {group!r}", where="/etc/group")
        gid = int(found[2])
    return uid, gid


def _rows(rootfs: str, path: str) -> list[list[str]]:
    try:
        text = Path(inside(rootfs, path)).read_text(errors="replace")
    except OSError:
        return []
    return [line.split(":") for line in text.splitlines()]
