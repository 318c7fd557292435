"""Answering 401: Basic (RFC 7617) and Bearer tokens as registries hand them out (distribution, "Token auth")."""

import json
import re
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from dpbuild.adapters.registry.credentials import Credential, CredentialProvider
from dpbuild.adapters.registry.errors import BODY_LIMIT, bare, failure, printable, unauthorized
from dpbuild.adapters.registry.hosts import is_loopback
from dpbuild.adapters.registry.retry import Retrier
from dpbuild.errors import RegistryError, Unauthorized
from dpbuild.frozen import frozen

# Distribution's token specification: seconds that a token lives if the service does not say, and at least.
LIFETIME = 60
# A token is not used in its last seconds: it would end while the request is on its way.
MARGIN = 5
CLIENT_ID = "dpbuild"

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_SCHEME = re.compile(rf"\s*,?\s*({_WORD})(?=\s|,|$)")
_PARAMETER = re.compile(rf'\s*,?\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')

Scopes = frozenset[str]


@frozen
class Challenge:
    """One challenge of a WWW-Authenticate header; ``scheme`` and names of parameters in lower case."""

    scheme: str
    parameters: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str:
        """A parameter, "" if it is absent."""
        return dict(self.parameters).get(name, "")


def challenges(header: str) -> list[Challenge]:
    """All challenges of a WWW-Authenticate header (RFC 9110, 11.6.1)."""
    found: list[Challenge] = []
    at = 0
    while at < len(header):
        if found and (match := _PARAMETER.match(header, at)):
            name, quoted, plain = match.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            last = found[-1]
            found[-1] = Challenge(scheme=last.scheme, parameters=(*last.parameters, (name.lower(), value)))
        elif match := _SCHEME.match(header, at):
            found.append(Challenge(scheme=match[1].lower()))
        else:
            break
        at = match.end()
    return found


def pull(repository: str) -> str:
    """The scope for reading a repository."""
    return f"repository:{repository}:pull"


def push(repository: str) -> str:
    """The scope for writing to a repository."""
    return f"repository:{repository}:pull,push"


def covers(have: Scopes, want: Scopes) -> bool:
    """Whether a token for ``have`` is good for ``want``: the same resources with at least the same actions."""
    rights: dict[str, set[str]] = {}
    for row in have:
        resource, _, actions = row.rpartition(":")
        rights.setdefault(resource, set()).update(actions.split(","))
    for row in want:
        resource, _, actions = row.rpartition(":")
        if not set(actions.split(",")) <= rights.get(resource, set()):
            return False
    return True


@frozen(kw_only=False)
class _Token:
    value: str
    scopes: Scopes
    ends: float


class RegistryAuth:
    """What one registry wants, and the tokens that it gave. May be used from several threads."""

    def __init__(
        self,
        registry: str,
        credentials: CredentialProvider,
        retrier: Retrier,
        clock: Callable[[], float],
        *,
        plain_http: bool,
    ) -> None:
        self._registry = registry
        self._credentials = credentials
        self._retrier = retrier
        self._clock = clock
        self._plain_http = plain_http
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._tokens: list[_Token] = []
        self._wider: dict[Scopes, Scopes] = {}
        self._refused: dict[Credential | None, Unauthorized] = {}
        self._asked = False

    def header(self, repository: str, scopes: Scopes) -> str:
        """The Authorization header for a request, "" before anything was asked for. Raises Unauthorized."""
        with self._lock:
            if self._challenge is None:
                return ""
            credential = self._find(repository)
            if credential is not None and credential.registry_token:
                return f"Bearer {credential.registry_token}"
            if self._challenge.scheme == "basic":
                # None: podman's files may know one repository of a registry and not another.
                return _basic(credential) if credential is not None else ""
            wanted = scopes | self._wider.get(scopes, frozenset())
            return f"Bearer {self._token(self._challenge, credential, wanted)}"

    def challenged(self, header: str, url: str, repository: str, scopes: Scopes, sent: str) -> None:
        """Take note of a 401 to a request with the Authorization header ``sent``. Raises Unauthorized."""
        rows = challenges(header)
        best = next((row for row in rows if row.scheme == "bearer" and row.get("realm")), None)
        best = best or next((row for row in rows if row.scheme == "basic"), None)
        if best is None:
            raise RegistryError(f"{self._registry} wants a login of a kind that is not known here", where=bare(url))
        with self._lock:
            credential = self._find(repository)
            if credential is not None and credential.registry_token and sent:
                raise unauthorized(
                    f"{self._registry} does not take the token any more", bare(url), self._registry, credential.origin
                )
            if any(f"Bearer {row.value}" == sent for row in self._tokens):
                # Whatever ended this one (a restart, a clock) has ended the others; if it is gone from the list,
                # another thread was here first and the tokens are new.
                self._tokens.clear()
            if best.scheme == "basic" and credential is None:
                raise unauthorized(f"{self._registry} wants a login", bare(url), self._registry, "")
            self._challenge = best
            asked = frozenset(best.get("scope").split())
            if asked and not covers(scopes, asked):
                self._wider[scopes] = asked

    def login(self, repository: str) -> str:
        """Where the credentials in use come from; "" if there are none or none were wanted."""
        with self._lock:
            credential = self._find(repository) if self._asked else None
            return credential.origin if credential else ""

    def secrets(self, repository: str) -> tuple[str, ...]:
        """What must not be shown, should a registry's answer repeat it."""
        with self._lock:
            credential = self._find(repository) if self._asked else None
            return (*(credential.secrets if credential else ()), *(row.value for row in self._tokens))

    def _find(self, repository: str) -> Credential | None:
        self._asked = True
        return self._credentials.find(self._registry, repository)

    def _token(self, challenge: Challenge, credential: Credential | None, scopes: Scopes) -> str:
        now = self._clock()
        self._tokens = [row for row in self._tokens if row.ends > now]
        for row in self._tokens:
            if covers(row.scopes, scopes):
                return row.value
        if credential in self._refused:
            raise self._refused[credential]
        value, lifetime = self._ask(challenge, credential, scopes)
        # Even a token that lives shorter than the margin must serve the request that it was fetched for.
        self._tokens.append(_Token(value, scopes, now + max(lifetime - MARGIN, 1)))
        return value

    def _ask(self, challenge: Challenge, credential: Credential | None, scopes: Scopes) -> tuple[str, float]:
        realm = challenge.get("realm")
        try:
            parts = urlsplit(realm)
        except ValueError:
            raise RegistryError(
                f"{self._registry} names a token service that is no address: {printable(realm)}"
            ) from None
        insecure = parts.scheme == "http" and not (self._plain_http or is_loopback(parts.hostname or ""))
        if parts.scheme not in ("http", "https") or not parts.hostname or insecure:
            raise RegistryError(
                f"{self._registry} names a token service that must not be asked: {bare(realm)}",
                hint="it has to be an https:// address" if insecure else None,
            )
        service = [("service", challenge.get("service"))] if challenge.get("service") else []
        headers: dict[str, str] = {}
        if credential is not None and credential.identity_token:
            form = [
                ("grant_type", "refresh_token"),
                *service,
                ("client_id", CLIENT_ID),
                ("scope", " ".join(sorted(scopes))),
                ("refresh_token", credential.identity_token),
            ]
            data = urlencode(form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            answer = self._retrier.send("POST", realm, headers, lambda: data)
        else:
            query = [*service, *(("scope", row) for row in sorted(scopes))]
            if credential is not None:
                headers["Authorization"] = _basic(credential)
                query.append(("account", credential.username))
            joint = "&" if parts.query else "?"
            answer = self._retrier.send("GET", f"{realm}{joint}{urlencode(query)}", headers)
        if answer.status != 200:
            error = failure(
                f"cannot get a token for {self._registry}",
                answer.status,
                answer.url,
                answer.error_body(),
                secrets=credential.secrets if credential else (),
                login=credential.origin if credential else "",
                registry=self._registry,
            )
            # A mount asks for another repository, too, which this login may have no right to.
            if isinstance(error, Unauthorized) and len({row.rpartition(":")[0] for row in scopes}) == 1:
                self._refused[credential] = error
            raise error
        return _read_token(answer.read(BODY_LIMIT * 16), answer.url)


def _read_token(body: bytes, url: str) -> tuple[str, float]:
    try:
        value: dict[str, Any] = json.loads(body)
        token = value.get("token") or value.get("access_token")
        lifetime = float(value.get("expires_in") or LIFETIME)
    except (ValueError, RecursionError, AttributeError, TypeError):
        token, lifetime = None, LIFETIME
    if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
        raise RegistryError("the token service gave no token", where=bare(url))
    return token, lifetime


def _basic(credential: Credential) -> str:
    import base64

    login = f"{credential.username}:{credential.password}".encode()
    return f"Basic {base64.b64encode(login).decode()}"
