"""The files of a distroless base that are in no package, and the package layers' own entries.

Paths, modes, owners and times are those that distroless publishes; see docs/compose.md for what differs.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from dpbuild.archive import tar
from dpbuild.archive.entry import Entry, Kind
from dpbuild.debian import deb
from dpbuild.debian.suites import Suite

# An entry and its content.
Item = tuple[Entry, bytes]

NOBODY: Final = 65534
NONROOT: Final = 65532
# When distroless' nsswitch.conf was first made; it has kept this time ever since.
_NSSWITCH_TIME: Final = 1514722362
_SOURCE: Final = "https://github.com/GoogleContainerTools/distroless"
_STATUS: Final = "var/lib/dpkg/status.d"

_PASSWD: Final = (
    "root:x:0:0:root:/root:/sbin/nologin\n"
    f"nobody:x:{NOBODY}:{NOBODY}:nobody:/nonexistent:/sbin/nologin\n"
    f"nonroot:x:{NONROOT}:{NONROOT}:nonroot:/home/nonroot:/sbin/nologin\n"
)
_GROUP: Final = f"root:x:0:\nnobody:x:{NOBODY}:\ntty:x:5:\nstaff:x:50:\nnonroot:x:{NONROOT}:\n"
# The heading is that of Debian's own example file, which distroless keeps.
_NSSWITCH: Final = """\
# /etc/nsswitch.conf
#
# Example configuration of GNU Name Service Switch functionality.
# If you have the `glibc-doc-reference' and `info' packages installed, try:
# `info libc "Name Service Switch"' for information about this file.

passwd:         compat
group:          compat
shadow:         compat
gshadow:        files

hosts:          files dns
networks:       files

protocols:      db files
services:       db files
ethers:         db files
rpc:            db files

netgroup:       nis
"""
# busybox keeps the names of its applets in one sorted table; the first two are the two of test(1).
_APPLETS: Final = b"[\0[[\0"
_APPLET: Final = re.compile(rb"[A-Za-z0-9_.+\[-]+")


def directory(path: str, mode: int = 0o755, owner: int = 0) -> Item:
    """A folder as distroless writes it."""
    return Entry(path=path, kind=Kind.DIRECTORY, mode=mode, uid=owner, gid=owner), b""


def file(path: str, content: bytes, mode: int = 0o644, mtime: int = 0) -> Item:
    """A regular file of root's."""
    return Entry(path=path, kind=Kind.FILE, mode=mode, size=len(content), mtime=mtime), content


def link(path: str, target: str) -> Item:
    """A symbolic link."""
    return Entry(path=path, kind=Kind.SYMLINK, mode=0o777, target=target), b""


def rootfs() -> tuple[Item, ...]:
    """The root itself."""
    return (directory(""),)


def passwd() -> tuple[Item, ...]:
    """The three users."""
    return directory("etc"), file("etc/passwd", _PASSWD.encode())


def home() -> tuple[Item, ...]:
    """Their home folders."""
    return directory("root", 0o700), directory("home"), directory("home/nonroot", 0o700, NONROOT)


def group() -> tuple[Item, ...]:
    """The five groups."""
    return directory("etc"), file("etc/group", _GROUP.encode())


def tmp() -> tuple[Item, ...]:
    """A folder for everybody's temporary files."""
    return (_owned(directory("tmp", 0o1777)),)


def nsswitch() -> tuple[Item, ...]:
    """Where names are looked up."""
    return (_owned(file("etc/nsswitch.conf", _NSSWITCH.encode(), mtime=_NSSWITCH_TIME)),)


def os_release(suite: Suite) -> tuple[Item, ...]:
    """What the system calls itself; replaces the file of Debian's base-files."""
    rows = {
        "PRETTY_NAME": "Distroless",
        "NAME": "Debian GNU/Linux",
        "ID": "debian",
        "VERSION_ID": suite.version,
        "VERSION": f"Debian GNU/Linux {suite.version} ({suite.codename})",
        "HOME_URL": _SOURCE,
        "SUPPORT_URL": f"{_SOURCE}/blob/master/README.md",
        "BUG_REPORT_URL": f"{_SOURCE}/issues/new",
    }
    text = "".join(f'{key}="{value}"\n' for key, value in rows.items())
    return directory("usr"), directory("usr/lib"), file("usr/lib/os-release", text.encode(), 0o555)


def python_aliases(suite: Suite) -> tuple[Item, ...]:
    """``python`` and ``python3``."""
    target = f"/usr/bin/python{suite.python}"
    return link("usr/bin/python", target), link("usr/bin/python3", target)


def ldconfig_cache(content: bytes) -> tuple[Item, ...]:
    """The loader's cache."""
    return (file("etc/ld.so.cache", content),)


def cacerts(package: bytes, name: str) -> tuple[Item, ...]:
    """All certificates of the package in one file, in the order of their paths. Raises DebError."""
    root = "usr/share/ca-certificates/"
    bundle: dict[str, bytes] = {}
    copyright_text = b""
    for entry, content in deb.contents(package):
        if entry.kind is Kind.FILE and entry.path.startswith(root):
            # A last line without its end must not run into the next certificate's first.
            bundle[entry.path] = content if content.endswith(b"\n") else content + b"\n"
        elif entry.path == "usr/share/doc/ca-certificates/copyright":
            copyright_text = content
    if not bundle:
        raise deb.DebError("it holds no certificates")
    return (
        directory("etc"),
        directory("etc/ssl"),
        directory("etc/ssl/certs"),
        file("etc/ssl/certs/ca-certificates.crt", b"".join(bundle[path] for path in sorted(bundle)), 0o555),
        directory("usr"),
        directory("usr/share"),
        directory("usr/share/doc"),
        directory("usr/share/doc/ca-certificates"),
        file("usr/share/doc/ca-certificates/copyright", copyright_text, 0o555),
        *status(package, name),
    )


def busybox(package: bytes, name: str) -> tuple[Item, ...]:
    """A shell for debug images: one program and a link for each of its applets. Raises DebError."""
    program = next(
        (
            content
            for entry, content in deb.contents(package)
            if entry.kind is Kind.FILE and entry.path in ("bin/busybox", "usr/bin/busybox")
        ),
        b"",
    )
    begin = program.find(_APPLETS)
    names = program[begin : program.find(b"\0\0", begin)].split(b"\0") if begin >= 0 else []
    if len(names) < 2 or names != sorted(names) or not all(_APPLET.fullmatch(row) for row in names):
        raise deb.DebError("its program has no table of applets")
    return (
        directory("busybox"),
        file("busybox/busybox", program, 0o755),
        *(link(f"busybox/{row.decode()}", "/busybox/busybox") for row in names if row != b"busybox"),
        *status(package, name),
    )


def status(package: bytes, name: str) -> tuple[Item, ...]:
    """The package's rows in status.d, which is where scanners look for them. Raises DebError."""
    found = deb.control(package)
    rows = [directory(_STATUS), file(f"{_STATUS}/{name}", found.control, found.control_mode)]
    if found.md5sums is not None:
        rows.append(file(f"{_STATUS}/{name}.md5sums", found.md5sums, found.md5sums_mode))
    return tuple(rows)


def package(data: bytes, name: str) -> Iterator[Item]:
    """A package's layer: its files as dpkg would unpack them, then its rows in status.d. Raises DebError."""
    yield from deb.contents(data)
    yield from status(data, name)


def archive(items: Iterable[Item]) -> Iterator[bytes]:
    """The bytes of a layer's tar; names begin with ``./`` as in Debian's packages."""
    for entry, content in items:
        yield tar.header(entry, prefix="./" if entry.path else ".")
        if content:
            yield content
            yield tar.padding(len(content))
    yield tar.END


def _owned(item: Item) -> Item:
    """The same with names for its owners, which only some of distroless' files have."""
    entry, content = item
    return entry._replace(user="root", group="root"), content
