"""A small Debian archive: packages, indices, and a signature by a throw-away key."""

import hashlib
import io
import lzma
import tarfile
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from factories.elf import make_elf

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MTIME = 1700000000
TRIPLETS = {"amd64": ("x86_64-linux-gnu", "x86_64"), "arm64": ("aarch64-linux-gnu", "aarch64")}


def make_tar(files: Mapping[str, bytes | str | None], modes: Mapping[str, int] | None = None) -> bytes:
    """GNU tar as dpkg-deb makes it: bytes are files, text is a link's target, None a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, content in files.items():
            row = tarfile.TarInfo(f"./{path}" if path else ".")
            row.mtime, row.uname, row.gname = MTIME, "root", "root"
            row.mode = (modes or {}).get(path, 0o755 if content is None else 0o644)
            if content is None:
                row.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                row.type, row.linkname, row.mode = tarfile.SYMTYPE, content, 0o777
            else:
                row.size = len(content)
            archive.addfile(row, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def make_ar(members: Mapping[str, bytes]) -> bytes:
    out = [b"!<arch>\n"]
    for name, data in members.items():
        out.append(b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name.encode(), MTIME, 0, 0, b"100644", len(data)))
        out.append(data + b"\n" * (len(data) % 2))
    return b"".join(out)


def with_parents(files: Mapping[str, bytes | str | None]) -> dict[str, bytes | str | None]:
    found: dict[str, bytes | str | None] = {"": None}
    for path, content in files.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            found.setdefault("/".join(parts[:depth]), None)
        found[path] = content
    return found


def make_deb(
    name: str,
    version: str,
    architecture: str,
    files: Mapping[str, bytes | str | None],
    *,
    scripts: Mapping[str, bytes] | None = None,
    compression: str = "xz",
) -> bytes:
    control = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nDescription: of a test\n text\n"
    sums = "".join(
        f"{hashlib.md5(data).hexdigest()}  {path}\n" for path, data in files.items() if isinstance(data, bytes)
    )
    inner: dict[str, bytes | str | None] = {"": None, "control": control.encode(), "md5sums": sums.encode()}
    inner |= dict(scripts or {})
    squeeze = {"xz": lzma.compress, "": lambda data: data}[compression]
    ending = f".{compression}" if compression else ""
    return make_ar(
        {
            "debian-binary": b"2.0\n",
            f"control.tar{ending}": squeeze(make_tar(inner, dict.fromkeys(scripts or {}, 0o755))),
            f"data.tar{ending}": squeeze(make_tar(with_parents(files))),
        }
    )


def contents(name: str, architecture: str) -> dict[str, bytes | str | None]:
    """What the package ``name`` holds here: enough for a base, and for a cache of its libraries."""
    triplet, machine = TRIPLETS[architecture]
    match name:
        case "base-files":
            links = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
            return {"etc/debian_version": b"13\n", "usr/lib/os-release": b"ID=x\n", "var/lib/dpkg": None, **links}
        case "ca-certificates":
            root = "usr/share/ca-certificates/mozilla"
            doc = "usr/share/doc/ca-certificates/copyright"
            return {f"{root}/B.crt": b"bbb\n", f"{root}/A.crt": b"aaa", doc: b"free\n"}
        case "libc-bin":
            return {"etc/ld.so.conf": b"include /etc/ld.so.conf.d/*.conf\n", "etc/ld.so.conf.d/libc.conf": b"# none\n"}
        case "libc6":
            return {
                f"usr/lib/{triplet}/libc.so.6": make_elf(machine, soname="libc.so.6"),
                f"etc/ld.so.conf.d/{triplet}.conf": f"/lib/{triplet}\n/usr/lib/{triplet}\n".encode(),
            }
        case "busybox-static":
            return {"usr/bin/busybox": b"\x7fELF..[\0[[\0busybox\0sh\0wget\0\0rest"}
    if name.startswith("lib"):
        real = f"usr/lib/{triplet}/{name}.so.1.2"
        return {real: make_elf(machine, soname=f"{name}.so.1"), f"usr/lib/{triplet}/{name}.so.1": f"{name}.so.1.2"}
    return {f"usr/share/doc/{name}/copyright": f"{name}\n".encode()}


@cache
def key():
    import pysequoia

    return pysequoia.Tsk.generate("Nobody's archive <nobody@example.org>")


@cache
def certificate() -> bytes:
    return bytes(key().extract_certificate())


def sign(text: bytes) -> bytes:
    import pysequoia

    return pysequoia.sign(key().signer(), text, mode=pysequoia.SignatureMode.CLEAR)


class Archive:
    """The files of two mirrors, ``main`` and ``security``, by path; change them as you like, then ``publish``."""

    def __init__(self, codename: str = "trixie") -> None:
        self.codename = codename
        self.files: dict[str, bytes] = {}
        self.rows: dict[tuple[str, str], dict[str, str]] = {}
        self.asked: list[str] = []
        self.date = NOW - timedelta(hours=1)
        self.valid_until: datetime | None = NOW + timedelta(days=7)
        self.compression = "xz"

    def add(
        self,
        name: str,
        version: str,
        architecture: str,
        files: Mapping[str, bytes | str | None],
        *,
        suite: str = "",
        scripts: Mapping[str, bytes] | None = None,
    ) -> str:
        """Put a package into the pool and into an index; returns its path."""
        data = make_deb(name, version, architecture, files, scripts=scripts, compression=self.compression)
        security = suite.endswith("-security")
        pool = "pool/updates/main" if security else "pool/main"
        path = f"{pool}/{name[0]}/{name}/{name}_{version.partition(':')[2] or version}_{architecture}.deb"
        self.files[("security/" if security else "main/") + path] = data
        stanza = (
            f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nFilename: {path}\n"
            f"Size: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
        self.rows.setdefault((suite or self.codename, architecture), {})[f"{name} {version}"] = stanza
        return path

    def publish(self) -> None:
        for suite in (self.codename, f"{self.codename}-updates", f"{self.codename}-security"):
            root = ("security" if suite.endswith("-security") else "main") + f"/dists/{suite}/"
            listed = []
            for architecture in TRIPLETS:
                rows = {**self.rows.get((suite, "all"), {}), **self.rows.get((suite, architecture), {})}
                data = lzma.compress("\n".join(rows.values()).encode())
                path = f"main/binary-{architecture}/Packages.xz"
                digest = hashlib.sha256(data).hexdigest()
                self.files[root + path] = data
                self.files[f"{root}main/binary-{architecture}/by-hash/SHA256/{digest}"] = data
                listed.append(f" {digest} {len(data)} {path}\n")
            stamp = "%a, %d %b %Y %H:%M:%S UTC"
            until = f"Valid-Until: {self.valid_until.strftime(stamp)}\n" if self.valid_until else ""
            component = "updates/main" if suite.endswith("-security") else "main"
            text = (
                f"Origin: Debian\nSuite: stable\nCodename: {suite}\nDate: {self.date.strftime(stamp)}\n{until}"
                f"Acquire-By-Hash: yes\nArchitectures: all amd64 arm64\nComponents: {component}\nSHA256:\n"
                f"{''.join(listed)}"
            )
            self.files[root + "InRelease"] = sign(text.encode())

    def fill(self, names: tuple[str, ...], version: str = "1.0-1") -> None:
        """Every package of a set, for both machines."""
        made = _filled(self.codename, names, version)
        self.files |= made.files
        self.rows |= {key: dict(rows) for key, rows in made.rows.items()}


@cache
def _filled(codename: str, names: tuple[str, ...], version: str) -> Archive:
    found = Archive(codename)
    numbers = {"libc6": "2.41-12", "python3.13-minimal": "3.13.5-2", "python3.11-minimal": "3.11.2-6"}
    for name in names:
        for architecture in TRIPLETS:
            found.add(name, numbers.get(name, version), architecture, contents(name, architecture))
    found.publish()
    return found


class Served:
    """An ``Archive`` over HTTP on loopback."""

    def __init__(self, archive: Archive) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body in one packet, or every answer waits for the other side's acknowledgement.
            wbufsize = -1

            def do_GET(self) -> None:
                path = self.path.lstrip("/")
                archive.asked.append(path)
                data = archive.files.get(path)
                self.send_response(200 if data is not None else 404)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")
                self.wfile.flush()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
