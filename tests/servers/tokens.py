"""A token service for docker-registry's ``auth: token`` (distribution, "Token Authentication Specification").

It signs with a key of its own, whose certificate the registry is told to trust.
"""

import base64
import json
import math
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from servers.tls import openssl

SERVICE, ISSUER = "registry.test", "tokens.test"
# How long docker-registry takes a token after its end, in seconds (distribution 2.8, token.go, "Leeway").
LEEWAY = 60


@dataclass
class TokenService:
    """Who may do what, and what was asked for; may be changed while it serves.

    ``users`` are passwords by name, ``identities`` names by identity token; users may do everything below the
    repository of their own name, and everybody may read below ``public``. The registry takes a token for ``lives``
    seconds, and the client is told ``says`` seconds, or nothing.
    """

    folder: Path
    users: dict[str, str] = field(default_factory=dict)
    identities: dict[str, str] = field(default_factory=dict)
    lives: int = 300
    says: int | None = 300
    # (user, scope) of every token that was given out.
    given: list[tuple[str, str]] = field(default_factory=list)
    refused: int = 0
    url: str = ""

    @property
    def config(self) -> str:
        """What goes into docker-registry's configuration."""
        return (
            f"auth:\n  token:\n    realm: {self.url}/token\n    service: {SERVICE}\n    issuer: {ISSUER}\n"
            f"    rootcertbundle: {self.folder}/tokens.pem\n"
        )

    def token(self, user: str, scopes: list[str]) -> str:
        """A signed token (RFC 7519) for what the user may do of what was asked for."""
        access = []
        for scope in scopes:
            kind, name, wanted = scope.split(":")
            own = bool(user) and name.startswith(f"{user}/")
            may = {"pull", "push"} if own else ({"pull"} if name.startswith("public/") else set())
            access.append({"type": kind, "name": name, "actions": sorted(may & set(wanted.split(",")))})
        # Claims are whole seconds; rounding down would end a token that lives for one at once, now and then.
        now = math.ceil(time.time())
        claims = {
            "iss": ISSUER, "sub": user, "aud": SERVICE, "jti": secrets.token_hex(8), "access": access,
            "exp": now + self.lives - LEEWAY, "nbf": now - 3600, "iat": now - 3600,
        }  # fmt: skip
        lines = (self.folder / "tokens.pem").read_text().splitlines()
        certificate = "".join(line for line in lines if not line.startswith("-"))
        head = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
        text = b".".join(_base64url(json.dumps(part).encode()) for part in (head, claims))
        signature = openssl(self.folder, "dgst", "-sha256", "-sign", "tokens.key", data=text)
        self.given.append((user, " ".join(scopes)))
        return (text + b"." + _base64url(signature)).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class _Handler(BaseHTTPRequestHandler):
    service: TokenService

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        header = self.headers.get("Authorization", "")
        user = ""
        if header:
            name, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
            if self.service.users.get(name) != password:
                self._refuse()
                return
            user = name
        self._give(user, query.get("scope", []), "token")

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        user = self.service.identities.get(form["refresh_token"][0])
        if form["grant_type"] != ["refresh_token"] or user is None:
            self._refuse()
            return
        self._give(user, form.get("scope", [""])[0].split(), "access_token")

    def _give(self, user: str, scopes: list[str], name: str) -> None:
        answer: dict[str, object] = {name: self.service.token(user, scopes)}
        if self.service.says is not None:
            answer["expires_in"] = self.service.says
        self._answer(200, answer)

    def _refuse(self) -> None:
        self.service.refused += 1
        # Some services are so kind as to repeat what they were sent.
        said = f"wrong login {self.headers.get('Authorization', '')}"
        self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": said}]})

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def token_service(folder: Path, **attributes: object) -> Iterator[TokenService]:
    """Serves until the block ends."""
    openssl(
        folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "tokens.key", "-out", "tokens.pem",
        "-days", "2", "-subj", f"/CN={ISSUER}",
    )  # fmt: skip
    service = TokenService(folder, **attributes)  # type: ignore[arg-type]
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"service": service}))
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def htpasswd(path: Path, user: str, password: str) -> str:
    """docker-registry's configuration for one account in a password file."""
    line = subprocess.run(["htpasswd", "-Bbn", user, password], capture_output=True, text=True, check=True).stdout
    path.write_text(line)
    return f"auth:\n  htpasswd:\n    realm: test\n    path: {path}\n"
