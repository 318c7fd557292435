"""A package index on 127.0.0.1: PEP 503 pages, PEP 691 answers and PEP 658 metadata."""

import base64
import gzip
import hashlib
import html
import io
import json
import re
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_JSON = "application/vnd.pypi.simple.v1+json"


def _project(filename: str) -> str:
    return re.sub(r"[-_.]+", "-", filename.split("-", maxsplit=1)[0]).lower()


class Index:
    """What the index holds; may be changed while it serves.

    ``requests`` are the paths asked for, in order, ``authorizations`` the headers sent with them; ``corrupt`` maps a file name to the bytes that are sent
    in its place; with ``login`` (user, password) everything needs basic authentication.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.corrupt: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.authorizations: list[str] = []
        self.login: tuple[str, str] | None = None
        self.json = True
        # Whether pages in HTML give hashes.
        self.fragments = True
        # Seconds before a file is sent.
        self.delay = 0.0
        self.url = ""

    def add(self, file: tuple[str, bytes]) -> str:
        """Offer a file (what ``make_wheel`` returns); the sha256 of its bytes."""
        self.files[file[0]] = file[1]
        return hashlib.sha256(file[1]).hexdigest()

    def add_sdist(self, name: str, version: str) -> str:
        """Offer an sdist that nothing here could build; its sha256."""
        stem = f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}"
        backend = '[build-system]\nrequires = ["no-such-backend"]\nbuild-backend = "no_such_backend"\n'
        files = (
            ("PKG-INFO", f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n"),
            ("pyproject.toml", f'{backend}[project]\nname = "{name}"\nversion = "{version}"\n'),
        )
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for path, text in files:
                member = tarfile.TarInfo(f"{stem}/{path}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        return self.add((f"{stem}.tar.gz", gzip.compress(out.getvalue(), mtime=0)))

    @property
    def simple(self) -> str:
        """The URL that goes into UV_DEFAULT_INDEX."""
        return f"{self.url}/simple/"

    def file_url(self, filename: str) -> str:
        """Where a file is served."""
        return f"{self.url}/files/{filename}"


def _metadata(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (path,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(path)


class _Handler(BaseHTTPRequestHandler):
    index: Index
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Nothing on stderr."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        index = self.index
        index.requests.append(self.path)
        index.authorizations.append(self.headers.get("Authorization", ""))
        if index.login is not None:
            wanted = base64.b64encode(":".join(index.login).encode()).decode()
            if self.headers.get("Authorization") != f"Basic {wanted}":
                self._send(401, b"", "text/plain", {"WWW-Authenticate": 'Basic realm="index"'})
                return
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/simple/([^/]+)/?", path):
            self._page(found[1])
        elif path.startswith("/files/"):
            name = path.removeprefix("/files/")
            whole = index.files.get(name.removesuffix(".metadata"))
            if whole is None:
                self._send(404, b"", "text/plain")
            elif name.endswith(".metadata"):
                self._send(200, _metadata(whole), "text/plain")
            else:
                time.sleep(index.delay)
                self._send(200, index.corrupt.get(name, whole), "application/octet-stream")
        else:
            self._send(404, b"", "text/plain")

    def _page(self, project: str) -> None:
        files = {name: data for name, data in self.index.files.items() if _project(name) == project}
        if not files:
            self._send(404, b"", "text/plain")
            return
        if self.index.json and _JSON in self.headers.get("Accept", ""):
            rows = []
            for name, data in files.items():
                row: dict[str, object] = {
                    "filename": name,
                    "url": self.index.file_url(name),
                    "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
                    "size": len(data),
                    "upload-time": "2020-01-01T00:00:00Z",
                }
                if name.endswith(".whl"):
                    if found := re.search(rb"^Requires-Python: (.*)$", _metadata(data), re.MULTILINE):
                        row["requires-python"] = found[1].decode()
                    row["core-metadata"] = {"sha256": hashlib.sha256(_metadata(data)).hexdigest()}
                rows.append(row)
            page = {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": rows}
            self._send(200, json.dumps(page).encode(), _JSON)
            return
        lines = ["<!DOCTYPE html><html><body>"]
        for name, data in files.items():
            fragment = f"#sha256={hashlib.sha256(data).hexdigest()}" if self.index.fragments else ""
            lines.append(f'<a href="{self.index.file_url(name)}{fragment}">{html.escape(name)}</a><br>')
        self._send(200, "\n".join([*lines, "</body></html>"]).encode(), "text/html")

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        total = len(body)
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        extra = dict(headers or {})
        if span and status == 200 and total:
            start = int(span[1])
            end = min(int(span[2] or total - 1), total - 1)
            body, status = body[start : end + 1], 206
            extra["Content-Range"] = f"bytes {start}-{end}/{total}"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        for key, value in extra.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serve_index() -> Iterator[Index]:
    """Serve an empty index until the block ends; ``.url`` is its root."""
    index = Index()
    handler = type("Handler", (_Handler,), {"index": index})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    index.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
