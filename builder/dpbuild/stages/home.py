"""A home folder that works whoever runs the image.

An engine that does not find the user in ``/etc/passwd`` sets HOME to ``/``, where nobody may write, and Python knows no
name for such a user. So HOME and USER are those of the image's own user, and everybody may write to that folder, as to
``/tmp``.
"""

import json
from typing import Final

from dpbuild.archive.entry import Entry, Kind
from dpbuild.frozen import frozen
from dpbuild.model.base import Base
from dpbuild.model.config import Config
from dpbuild.oci.codec import canonical
from dpbuild.oci.descriptor import Pairs
from dpbuild.ports.store import Store
from dpbuild.stages.contents import Contents

_USERS: Final = "etc/passwd"
_LARGEST: Final = 1 << 20
# As /tmp: everybody may write, and nobody may remove what is another's.
_MODE: Final = 0o1777
# What a user without an entry is called.
_NAMELESS: Final = "app"
_FORMAT: Final = 1


@frozen(kw_only=False)
class Home:
    """``path`` is absolute; ``folder`` is its entry where the base's does not let everybody write, else None."""

    user: str
    path: str
    folder: Entry | None

    def variables(self, base: Base) -> Pairs:
        """What the image's environment says of it."""
        named = base.config.variable("USER") or base.config.variable("LOGNAME")
        return (("HOME", self.path), *(() if named else (("USER", self.user),)))


def find_home(config: Config, base: Base, contents: Contents, store: Store) -> Home | None:
    """The home of the image's user, or ``/tmp`` for one that has none; None where HOME is set, or there is neither."""
    if base.config.variable("HOME") is not None or "HOME" in dict(config.env):
        return None
    user = (config.user or base.config.user or "0").partition(":")[0]
    name, path = _entry(user, base, contents, store)
    for place in (path.strip("/"), "tmp"):
        entry = base.tree.get(place) if place else None
        if entry is not None and entry.kind is Kind.DIRECTORY:
            if place == "tmp" and not entry.mode & 0o002:
                break
            folder = None if entry.mode & 0o002 else entry._replace(mode=_MODE)
            return Home(name or _NAMELESS, f"/{place}", folder)
    return None


def _entry(user: str, base: Base, contents: Contents, store: Store) -> tuple[str, str]:
    """Name and home of a user in the base, by name or number; kept, since the layer may be far away."""
    key = f"passwd {_FORMAT} {base.descriptor.digest} {user}"
    kept = store.get("facts", key)
    if kept is not None:
        name, path = json.loads(kept)
        return str(name), str(path)
    found = ("", "")
    for line in (contents.get(_USERS, _LARGEST) or b"").decode(errors="replace").splitlines():
        # The seven fields of passwd(5).
        row = line.split(":")
        if len(row) == 7 and user in (row[0], row[2]):
            found = (row[0], row[5])
            break
    store.put("facts", key, canonical(list(found)))
    return found
