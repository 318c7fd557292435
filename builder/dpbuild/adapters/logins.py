"""Which login a package index gets, where dpbuild itself downloads from it: what uv would use."""

import shutil
import subprocess
import threading
from collections.abc import Mapping

from dpbuild.frozen import field, frozen

Login = tuple[str, str]

# Seconds that a keyring may take; it may ask its owner.
_TIMEOUT = 60.0


@frozen
class KnownLogins:
    """``hosts`` are by host[:port], as URLs name them, with the index's address for a keyring; a password may be "".

    ``netrc`` is by host alone, since netrc knows no ports; "default" is for every other host.
    """

    hosts: Mapping[str, Login] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    netrc: Mapping[str, Login] = field(default_factory=dict)


class Logins:
    """Finds a login; may be called from several threads.

    ``keyring``: whether the program of that name is asked where a user is known and no password
    (uv's documentation, "Using credentials"); ``environment`` is what it gets.
    """

    def __init__(self, known: KnownLogins, environment: Mapping[str, str], *, keyring: bool = False) -> None:
        self._known = known
        self._environment = dict(environment)
        self._keyring = keyring
        self._lock = threading.Lock()
        self._asked: dict[str, Login | None] = {}

    def find(self, netloc: str) -> Login | None:
        """The login for host[:port], or None."""
        user, password = self._known.hosts.get(netloc, ("", ""))
        if password:
            return user, password
        host = netloc.partition("]")[0].strip("[") if netloc.startswith("[") else netloc.partition(":")[0]
        rows = (self._known.netrc.get(name) for name in (host, "default"))
        kept = next((row for row in rows if row is not None and user in ("", row[0])), None)
        if kept is not None:
            return kept
        if not user:
            return None
        with self._lock:
            if netloc not in self._asked:
                self._asked[netloc] = self._ask(netloc, user) if self._keyring else None
            return self._asked[netloc] or (user, password)

    def _ask(self, netloc: str, user: str) -> Login | None:
        program = shutil.which("keyring", path=self._environment.get("PATH", ""))
        if program is None:
            return None
        for service in (self._known.urls.get(netloc, ""), netloc):
            if not service:
                continue
            try:
                done = subprocess.run(
                    [program, "get", service, user],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    env=self._environment,
                    timeout=_TIMEOUT,
                    check=False,
                    encoding="utf-8",
                    errors="replace",
                )
            except (OSError, subprocess.TimeoutExpired):
                return None
            if done.returncode == 0 and done.stdout.strip():
                return user, done.stdout.removesuffix("\n")
        return None
