"""Who a container runs as, and what that account may read and write."""

import posixpath
from collections.abc import Callable
from typing import Final

from dpbuild.archive.entry import Entry
from dpbuild.archive.overlay import FileTree
from dpbuild.frozen import frozen
from dpbuild.oci.config import ImageConfig
from dpbuild.stages import accounts
from dpbuild.stages.proof.scan import FileScan

_USERS: Final = "/etc/passwd"
_GROUPS: Final = "/etc/group"


@frozen
class Account:
    """``name`` is "" where /etc/passwd has none for the uid; ``unknown`` is the config's User if the image lacks it.

    ``home`` is HOME as an engine sets it: from Env, /etc/passwd, else the root.
    """

    uid: int
    gid: int
    groups: frozenset[int] = frozenset()
    name: str = ""
    home: str = "/"
    unknown: str = ""

    def may(self, entry: Entry, bit: int) -> bool:
        """Whether the permission bit (4 read, 2 write, 1 execute or search) is given, as POSIX decides."""
        if self.uid == 0:
            return bit != 1 or bool(entry.mode & 0o111)
        if entry.uid == self.uid:
            return bool(entry.mode & bit << 6)
        if entry.gid == self.gid or entry.gid in self.groups:
            return bool(entry.mode & bit << 3)
        return bool(entry.mode & bit)


def account(config: ImageConfig, scan: Callable[[str], FileScan]) -> Account:
    """The account that ``User`` names, with the groups that /etc/group adds where it names none itself."""
    users = accounts.users(scan(_USERS).text)
    groups = accounts.groups(scan(_GROUPS).text)
    try:
        found = accounts.run_as(config.user, users, groups, home=config.variable("HOME") or "")
    except LookupError:
        return Account(uid=-1, gid=-1, unknown=config.user)
    more = {row.gid for row in groups if found.name and found.name in row.members}
    return Account(
        uid=found.uid,
        gid=found.gid,
        groups=frozenset() if ":" in config.user else frozenset(more),
        name=found.name,
        home=found.home,
    )


def blocked(tree: FileTree, user: Account, path: str, bit: int = 4) -> str:
    """What on the way to ``path`` keeps the user out, with all links resolved; "" if nothing does."""
    real = tree.resolve(path)
    if real is None:
        return ""
    above = []
    folder = posixpath.dirname(real)
    while True:
        above.append(folder)
        if not folder:
            break
        folder = posixpath.dirname(folder)
    for place in reversed(above):
        entry = tree.get(place)
        if entry is not None and not user.may(entry, 1):
            return f"/{place}"
    entry = tree.get(real)
    return "" if entry is None or user.may(entry, bit) else f"/{real}"
