"""A registry in this process: the OCI distribution spec over http.server on 127.0.0.1, with switches for trouble."""

import base64
import hashlib
import json
import re
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
BLOB = re.compile(r"/v2/(?P<repo>.+)/blobs/(?P<digest>sha256:[0-9a-f]{64})")
MANIFEST = re.compile(r"/v2/(?P<repo>.+)/manifests/(?P<ref>[^/]+)")
REFERRERS = re.compile(r"/v2/(?P<repo>.+)/referrers/(?P<digest>sha256:[0-9a-f]{64})")
UPLOAD = re.compile(r"/v2/(?P<repo>.+)/blobs/uploads/(?P<id>[^/]*)")


@dataclass
class Trouble:
    """What happens to requests that match, ``times`` times.

    ``status`` answers with it; ``cut`` sends a body up to that many bytes and drops the connection; ``drop``
    drops the connection without an answer, ``after`` says whether the request is carried out first.
    """

    method: str
    path: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    drop: bool = False
    after: bool = False

    def matches(self, method: str, path: str) -> bool:
        return self.times > 0 and self.method == method and re.search(self.path, path) is not None


@dataclass(frozen=True)
class Seen:
    """One request as it came in."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.method} {self.path}" + (f"?{self.query}" if self.query else "")


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class FakeRegistry:
    """What the registry holds and how it behaves; everything may be changed while it serves."""

    def __init__(self) -> None:
        self.blobs: dict[str, dict[str, bytes]] = {}
        self.manifests: dict[str, dict[str, tuple[str, bytes]]] = {}
        self.uploads: dict[str, str] = {}
        self.seen: list[Seen] = []
        self.troubles: list[Trouble] = []
        self.auth: Literal["none", "basic", "token"] = "none"
        self.users: dict[str, str] = {}
        # identity token -> user
        self.identities: dict[str, str] = {}
        self.tokens: dict[str, frozenset[str]] = {}
        self.anonymous_pull = False
        self.token_lifetime: int | None = 300
        self.realm = ""
        self.mounts = True
        self.ranges = True
        self.absolute_location = False
        self.digest_header = True
        self.check_blobs = True
        # whether there is a referrers API, and how many rows it gives at once
        self.referrers = False
        self.page = 1
        # the status that refuses a manifest whose subject is not there, 0 for none
        self.subject_first = 0
        # the status for a manifest whose blobs are not all there
        self.incomplete = 400
        # digest -> bytes that are sent in its place
        self.corrupt: dict[str, bytes] = {}
        # where GETs of blobs are redirected to, "" for not at all
        self.redirect = ""
        # how many connections were opened
        self.connections = 0
        self.host = ""
        self.scheme = "http"
        self.lock = threading.RLock()

    @property
    def requests(self) -> list[str]:
        """The requests so far, as ``METHOD path?query``."""
        with self.lock:
            return [str(row) for row in self.seen]

    def count(self, method: str, part: str = "") -> int:
        return sum(row.startswith(method + " ") and part in row for row in self.requests)

    def forget(self) -> None:
        """Start the log again."""
        with self.lock:
            self.seen.clear()

    def trouble(self, method: str, path: str, **how: Any) -> Trouble:
        """Let requests fail; see Trouble."""
        row = Trouble(method=method, path=path, **how)
        self.troubles.append(row)
        return row

    def add_blob(self, repository: str, data: bytes) -> str:
        digest = digest_of(data)
        self.blobs.setdefault(repository, {})[digest] = data
        return digest

    def add_manifest(self, repository: str, tag: str, media_type: str, data: bytes) -> str:
        digest = digest_of(data)
        for name in (tag, digest):
            self.manifests.setdefault(repository, {})[name] = (media_type, data)
        return digest

    def revoke(self) -> None:
        """Every token that was handed out ends now."""
        self.tokens.clear()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: FakeRegistry
    timeout = 20
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        with self.registry.lock:
            self.registry.connections += 1

    def log_message(self, *_: object) -> None:
        pass

    def handle_expect_100(self) -> bool:
        return True

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    # answering

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, cut: int | None = None):
        self.send_response(status)
        rows = {"Content-Length": str(len(body)), **(headers or {})}
        for name, value in rows.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True

    def _error(self, status: int, code: str, message: str = "no", headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self._answer(status, body, {"Content-Type": "application/json", **(headers or {})})

    def _serve(self) -> None:
        registry = self.registry
        parts = urlsplit(self.path)
        self.length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(self.length)
        trouble = None
        with registry.lock:
            kept = body if len(body) < 10_000 else b""
            registry.seen.append(Seen(self.command, parts.path, parts.query, dict(self.headers), kept))
            for row in registry.troubles:
                if row.matches(self.command, self.path):
                    trouble = row
                    row.times -= 1
                    break
        if len(body) < self.length:
            self.close_connection = True
            return
        if trouble is not None and not trouble.after and trouble.cut is None:
            if trouble.drop:
                self.close_connection = True
            else:
                self._answer(trouble.status, trouble.body, trouble.headers)
            return
        if trouble is not None and trouble.after:
            # Carried out, but nobody hears of it.
            out, self.wfile = self.wfile, _Nowhere()
            self._dispatch(parts.path, parts.query, body, None)
            self.wfile = out
            self.close_connection = True
            return
        self._dispatch(parts.path, parts.query, body, trouble.cut if trouble else None)

    def _dispatch(self, path: str, query: str, body: bytes, cut: int | None) -> None:
        if path == "/token":
            self._token(query, body)
        elif not self._allowed(path, query):
            return
        elif path == "/v2/":
            self._answer(200, b"{}")
        elif match := UPLOAD.fullmatch(path):
            self._upload(match["repo"], match["id"], parse_qs(query), body)
        elif match := BLOB.fullmatch(path):
            self._blob(match["repo"], match["digest"], cut)
        elif match := MANIFEST.fullmatch(path):
            self._manifest(match["repo"], match["ref"], body)
        elif self.registry.referrers and (match := REFERRERS.fullmatch(path)):
            self._referrers(match["repo"], match["digest"], int(parse_qs(query).get("from", ["0"])[0]))
        else:
            self._error(404, "UNSUPPORTED")

    # logins

    def _allowed(self, path: str, query: str) -> bool:
        registry = self.registry
        sent = self.headers.get("Authorization", "")
        if registry.auth == "none":
            return True
        if registry.auth == "basic":
            if self._user(sent):
                return True
            self._error(
                401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": 'Basic realm="fake, really"'}
            )
            return False
        wanted = self._wanted(path, query)
        if sent.startswith("Bearer ") and wanted <= registry.tokens.get(sent[7:], frozenset()):
            return True
        realm = registry.realm or f"{registry.scheme}://{registry.host}/token"
        scope = " ".join(sorted(row for row in wanted))
        challenge = f'Bearer realm="{realm}",service="fake",scope="{scope}"'
        self._error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})
        return False

    def _wanted(self, path: str, query: str) -> frozenset[str]:
        match = next((found for form in (UPLOAD, BLOB, MANIFEST, REFERRERS) if (found := form.fullmatch(path))), None)
        if match is None:
            return frozenset()
        reads = self.command in ("GET", "HEAD")
        wanted = {f"repository:{match['repo']}:{action}" for action in (("pull",) if reads else ("pull", "push"))}
        for source in parse_qs(query).get("from", []):
            wanted.add(f"repository:{source}:pull")
        return frozenset(wanted)

    def _user(self, sent: str) -> str:
        try:
            user, _, password = base64.b64decode(sent.removeprefix("Basic ")).decode().partition(":")
        except ValueError:
            return ""
        return user if self.registry.users.get(user) == password and password else ""

    def _token(self, query: str, body: bytes) -> None:
        registry = self.registry
        form = parse_qs(body.decode() if self.command == "POST" else query)
        scopes = [row for value in form.get("scope", []) for row in value.split()]
        if self.command == "POST":
            user = registry.identities.get(form.get("refresh_token", [""])[0], "")
        else:
            user = self._user(self.headers.get("Authorization", ""))
        if not user and ("Authorization" in self.headers or not registry.anonymous_pull):
            self._error(401, "UNAUTHORIZED", f"incorrect username or password {self.headers.get('Authorization')}")
            return
        rights = set()
        for scope in scopes:
            resource, _, actions = scope.rpartition(":")
            rights.update(f"{resource}:{action}" for action in actions.split(",") if user or action == "pull")
        token = secrets.token_urlsafe(24)
        registry.tokens[token] = frozenset(rights)
        answer: dict[str, Any] = {"token" if self.command == "GET" else "access_token": token}
        if registry.token_lifetime is not None:
            answer["expires_in"] = registry.token_lifetime
        self._answer(200, json.dumps(answer).encode())

    # content

    def _blob(self, repo: str, digest: str, cut: int | None) -> None:
        registry = self.registry
        data = registry.blobs.get(repo, {}).get(digest)
        if data is None:
            self._error(404, "BLOB_UNKNOWN", "blob unknown to registry")
            return
        if registry.redirect and self.command == "GET":
            self._answer(307, b"", {"Location": f"{registry.redirect}{self.path}"})
            return
        data = registry.corrupt.get(digest, data)
        start = 0
        if registry.ranges and (match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))):
            start = int(match[1])
        headers = {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if self.command == "HEAD":
            self._answer(200, b"", {**headers, "Content-Length": str(len(data))})
        else:
            self._answer(206 if start else 200, data[start:], headers, cut)

    def _upload(self, repo: str, upload: str, query: dict[str, list[str]], body: bytes) -> None:
        registry = self.registry
        if self.command == "POST":
            source, digest = query.get("from", [""])[0], query.get("mount", [""])[0]
            if registry.mounts and digest in registry.blobs.get(source, {}):
                registry.blobs.setdefault(repo, {})[digest] = registry.blobs[source][digest]
                self._answer(201, b"", {"Location": f"/v2/{repo}/blobs/{digest}"})
                return
            name = secrets.token_hex(8)
            registry.uploads[name] = repo
            location = f"/v2/{repo}/blobs/uploads/{name}?_state=a%2Fb"
            if registry.absolute_location:
                location = f"{registry.scheme}://{registry.host}{location}"
            self._answer(202, b"", {"Location": location})
        elif self.command == "PUT" and registry.uploads.get(upload) == repo and query.get("_state") == ["a/b"]:
            del registry.uploads[upload]
            digest = query["digest"][0]
            if digest_of(body) != digest:
                self._error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
                return
            registry.add_blob(repo, body)
            self._answer(201, b"", {"Location": f"/v2/{repo}/blobs/{digest}", "Docker-Content-Digest": digest})
        else:
            self._error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")

    def _manifest(self, repo: str, ref: str, body: bytes) -> None:
        registry = self.registry
        if self.command == "PUT":
            if missing := self._missing(repo, body):
                self._error(registry.incomplete, "MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {missing}")
                return
            subject = json.loads(body).get("subject")
            if registry.subject_first and subject and subject["digest"] not in registry.manifests.get(repo, {}):
                self._error(registry.subject_first, "MANIFEST_BLOB_UNKNOWN", f"blob unknown: {subject['digest']}")
                return
            media_type = self.headers.get("Content-Type", "")
            digest = registry.add_manifest(repo, ref, media_type, body)
            headers = {"Location": f"/v2/{repo}/manifests/{digest}", "Docker-Content-Digest": digest}
            if registry.referrers and subject:
                headers["OCI-Subject"] = subject["digest"]
            self._answer(201, b"", headers)
            return
        found = registry.manifests.get(repo, {}).get(ref)
        if found is None:
            self._error(404, "MANIFEST_UNKNOWN", "manifest unknown")
            return
        media_type, data = found
        headers = {"Content-Type": media_type, "Content-Length": str(len(data))}
        if registry.digest_header:
            headers["Docker-Content-Digest"] = digest_of(data)
        data = registry.corrupt.get(digest_of(data), data)
        self._answer(200, data, {**headers, "Content-Length": str(len(data))})

    def _referrers(self, repo: str, subject: str, first: int) -> None:
        rows = []
        for name, (media_type, data) in self.registry.manifests.get(repo, {}).items():
            value = json.loads(data)
            if name.startswith("sha256:") and value.get("subject", {}).get("digest") == subject:
                row = {"mediaType": media_type, "digest": name, "size": len(data)}
                rows.append(row | {"artifactType": value.get("artifactType"), "annotations": value.get("annotations")})
        page = rows[first : first + self.registry.page]
        last = first + self.registry.page
        more = {"Link": f'<{urlsplit(self.path).path}?from={last}>; rel="next"'} if last < len(rows) else {}
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": page}).encode()
        self._answer(200, body, {"Content-Type": INDEX, **more})

    def _missing(self, repo: str, body: bytes) -> str:
        if not self.registry.check_blobs:
            return ""
        value = json.loads(body)
        blobs, manifests = self.registry.blobs.get(repo, {}), self.registry.manifests.get(repo, {})
        rows = [row["digest"] for row in [*value.get("layers", []), *([value["config"]] if "config" in value else [])]]
        children = [row["digest"] for row in value.get("manifests", [])]
        return next(
            (row for row in rows if row not in blobs), next((row for row in children if row not in manifests), "")
        )


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that go away are part of the tests."""


@contextmanager
def fake_registry(tls: ssl.SSLContext | None = None, **switches: Any) -> Iterator[FakeRegistry]:
    """A registry that serves until the block ends; ``switches`` are attributes of FakeRegistry."""
    registry = FakeRegistry()
    for name, value in switches.items():
        assert hasattr(registry, name), name
        setattr(registry, name, value)
    server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"registry": registry}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        registry.scheme = "https"
    registry.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
