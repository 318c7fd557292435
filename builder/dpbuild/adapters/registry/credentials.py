"""Credentials as ``docker login`` and ``podman login`` keep them; read when a registry asks, never before.

The Docker SDK can read Docker's file too. It is not used here because it does not know podman's keys that end
in a repository, takes the environment of the whole process for its helpers, sets no time limit for them, and
costs a quarter of a second to import.
"""

import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from dpbuild.errors import Unauthorized
from dpbuild.frozen import field, frozen
from dpbuild.oci.reference import DOCKER_HUB

# docker/cli, cli/config: the key of Docker Hub in config.json is the address of an API of 2013.
HUB_KEY = "https://index.docker.io/v1/"
# docker-credential-helpers: the user name that marks a secret as an identity token, and the words for "none".
TOKEN_USER = "<token>"  # noqa: S105
NOT_FOUND = "credentials not found"
# Seconds; a helper may ask a cloud, but must not hang the build.
HELPER_TIMEOUT = 60.0
# RFC 6750, 2.1; whatever else it holds would end up in a header.
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Json = dict[str, Any]


@frozen
class Credential:
    """A user name and password, an identity token (an OAuth 2 refresh token), or a bearer token that is sent as it is.

    ``origin`` says where it was found, for messages; it is the only part that may be shown.
    """

    origin: str
    username: str = ""
    password: str = field(default="", shown=False)
    identity_token: str = field(default="", shown=False)
    registry_token: str = field(default="", shown=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown."""
        return tuple(row for row in (self.password, self.identity_token, self.registry_token) if row)


class CredentialProvider(Protocol):
    """Knows credentials; may be called from several threads."""

    def find(self, registry: str, repository: str) -> Credential | None:
        """The credential for a repository, or None for anonymous. Raises Unauthorized if one cannot be read."""


class NoCredentials:
    """Everything is anonymous."""

    def find(self, registry: str, repository: str) -> Credential | None:
        """None."""
        return None


def credential_files(env: Mapping[str, str], home: str) -> tuple[str, ...]:
    """The files to look into, first one first: what the environment names, Docker's, podman's."""
    paths = []
    if env.get("REGISTRY_AUTH_FILE"):
        paths.append(env["REGISTRY_AUTH_FILE"])
    paths.append(f"{env.get('DOCKER_CONFIG') or home + '/.docker'}/config.json")
    if env.get("XDG_RUNTIME_DIR"):
        paths.append(f"{env['XDG_RUNTIME_DIR']}/containers/auth.json")
    paths.append(f"{env.get('XDG_CONFIG_HOME') or home + '/.config'}/containers/auth.json")
    return tuple(dict.fromkeys(paths))


class CredentialFiles:
    """Looks into ``paths`` in turn; the first that has something for the registry wins.

    ``env`` is the whole environment of credential helpers (they want PATH and HOME).
    """

    def __init__(self, paths: tuple[str, ...], env: Mapping[str, str]) -> None:
        self._paths = paths
        self._env = dict(env)
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], Credential | None] = {}
        self._files: dict[str, Json] = {}

    def find(self, registry: str, repository: str) -> Credential | None:
        """The credential for a repository; helpers are asked once for it."""
        key = (registry, repository)
        with self._lock:
            if key not in self._found:
                found = (self._look(path, registry, repository) for path in self._paths)
                self._found[key] = next((row for row in found if row is not None), None)
            return self._found[key]

    def _look(self, path: str, registry: str, repository: str) -> Credential | None:
        config = self._read(path)
        auths = _table(config, "auths")
        entries = {_normal(key): row for key, row in auths.items() if isinstance(row, dict)}
        keys = _keys(registry, repository)
        # A key that names a repository is podman's and more exact than any helper, which knows hosts only.
        for key in keys:
            if "/" in key and key in entries and (found := _entry(entries[key], path, key)):
                return found
        helpers = {_normal(key): row for key, row in _table(config, "credHelpers").items()}
        helper = next((helpers[key] for key in keys if key in helpers), config.get("credsStore"))
        if helper and (found := self._ask(str(helper), path, registry)):
            return found
        for key in keys:
            if key in entries and (found := _entry(entries[key], path, key)):
                return found
        return None

    def _read(self, path: str) -> Json:
        if path not in self._files:
            try:
                value = json.loads(Path(path).read_bytes())
            except (FileNotFoundError, NotADirectoryError):
                value = {}
            except OSError as problem:
                raise Unauthorized(f"cannot read the credentials: {problem.strerror}", where=path) from None
            except (ValueError, RecursionError):
                raise Unauthorized("cannot read the credentials: the file is not JSON", where=path) from None
            self._files[path] = value if isinstance(value, dict) else {}
        return self._files[path]

    def _ask(self, name: str, path: str, registry: str) -> Credential | None:
        import shutil
        import subprocess

        program = f"docker-credential-{name}"
        command = shutil.which(program, path=self._env.get("PATH", "")) if _HELPER.fullmatch(name) else None
        if command is None:
            raise Unauthorized(
                f"the credential helper {program!r} is not there",
                where=path,
                hint="install it, or log in again without it",
            )
        server = HUB_KEY if registry == DOCKER_HUB else registry
        try:
            done = subprocess.run(
                [command, "get"],
                input=server.encode(),
                capture_output=True,
                env=self._env,
                timeout=HELPER_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unauthorized(f"{program} gave no answer in {HELPER_TIMEOUT:.0f} s", where=path) from None
        except OSError as problem:
            raise Unauthorized(f"cannot run {program}: {problem.strerror}", where=path) from None
        if done.returncode:
            # Helpers write their errors to stdout.
            if NOT_FOUND in done.stdout.decode(errors="replace").lower():
                return None
            raise Unauthorized(f"{program} failed for {registry} with status {done.returncode}", where=path)
        try:
            answer = json.loads(done.stdout)
            user, secret = str(answer["Username"]), str(answer["Secret"])
        except (ValueError, KeyError, TypeError):
            raise Unauthorized(f"{program} gave an answer that makes no sense", where=path) from None
        origin = f"{program} (named in {path})"
        if user == TOKEN_USER:
            return Credential(origin=origin, identity_token=secret)
        return Credential(origin=origin, username=user, password=secret) if secret else None


def _table(config: Json, key: str) -> Json:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _normal(key: str) -> str:
    """A key of ``auths`` without scheme and API version; ``docker login`` has written both in its time."""
    key = re.sub(r"^https?://", "", key.lower()).rstrip("/")
    key = re.sub(r"/v[12]$", "", key)
    host, slash, rest = key.partition("/")
    return ("docker.io" if host in ("index.docker.io", "registry-1.docker.io") else host) + slash + rest


def _keys(registry: str, repository: str) -> list[str]:
    """The keys that fit, the most exact first, as in containers-auth.json(5)."""
    parts = repository.split("/")
    paths = ["/".join([registry.lower(), *parts[:count]]) for count in range(len(parts), 0, -1)]
    return [*paths, registry.lower()]


def _entry(row: Json, path: str, key: str) -> Credential | None:
    origin = f"{path} (entry {key})"
    if token := row.get("registrytoken"):
        if not _BEARER.fullmatch(str(token)):
            raise Unauthorized(f"the registrytoken of the entry {key!r} is no token", where=path)
        return Credential(origin=origin, registry_token=str(token))
    if token := row.get("identitytoken"):
        return Credential(origin=origin, identity_token=str(token))
    user, password = row.get("username"), row.get("password")
    if auth := row.get("auth"):
        import base64
        import binascii

        try:
            text = base64.b64decode(str(auth), validate=True).decode().rstrip("\0")
        except (binascii.Error, UnicodeDecodeError):
            raise Unauthorized(f"the entry {key!r} is not base64", where=path) from None
        user, colon, password = text.partition(":")
        if not colon:
            raise Unauthorized(f"the entry {key!r} is not user:password", where=path)
    if not user or password is None:
        return None
    return Credential(origin=origin, username=str(user), password=str(password))
