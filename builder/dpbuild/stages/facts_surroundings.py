"""Time zones, certificates, shells and users of an image."""

import re
from typing import Any, Final

from dpbuild.archive.overlay import FileTree
from dpbuild.model.surroundings import Certificates, RunAs, Surroundings, User
from dpbuild.oci.config import ImageConfig
from dpbuild.stages import facts_libraries
from dpbuild.stages.contents import Contents
from dpbuild.stages.facts_interpreter import DEFAULT_PATH, Interpreter

_TEXT: Final = 1 << 20
# ``sysconfig``'s TZPATH where the build does not say another (configure.ac, "--with-tzpath").
_TZPATH: Final = "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo"
_ZONE: Final = "Europe/London"
_LEGACY_ZONE: Final = "US/Eastern"
# Where distributors put certificates in one file: Debian, Alpine and Wolfi; Fedora and Red Hat; SUSE; OpenSSL.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
)
# What ``OpenSSL_version(OPENSSL_DIR)`` returns is one string of libcrypto.
_OPENSSL_DIR: Final = re.compile(rb'OPENSSLDIR: "(/[^"\0]{0,4000})"\0')
# Names in a folder of certificates, by the hash of their subject (openssl-rehash(1)).
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")
_SHELLS: Final = ("sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish")
_ID_MOST: Final = 1 << 32
_LIKELY: Final = re.compile(r".*/(?:libcrypto\.so\.[\d.]+|lib-dynload/_ssl\.[^/]*so)")


def likely(path: str) -> bool:
    """Whether the functions here may read this file."""
    return path in ("etc/passwd", "etc/group") or _LIKELY.fullmatch(path) is not None


def read(
    tree: FileTree,
    contents: Contents,
    config: ImageConfig,
    python: Interpreter,
    shared: bytes,
    variables: dict[str, Any],
    sites: tuple[str, ...],
) -> Surroundings:
    """All of it; ``variables`` are those of the interpreter's build, ``sites`` its site directories."""
    zoneinfo = _zoneinfo(tree, config, variables, sites)
    users = _users(contents)
    return Surroundings(
        zoneinfo=zoneinfo,
        legacy_zones=bool(zoneinfo) and tree.is_file(f"{zoneinfo}/{_LEGACY_ZONE}"),
        certificates=_certificates(tree, contents, config, python, shared),
        shells=_shells(tree, config),
        users=users,
        user=run_as(config, users, _rows(contents, "/etc/group")),
    )


def _zoneinfo(tree: FileTree, config: ImageConfig, variables: dict[str, Any], sites: tuple[str, ...]) -> str:
    """As ``zoneinfo``: PYTHONTZPATH instead of the build's own list, then the distribution ``tzdata``."""
    asked = config.variable("PYTHONTZPATH")
    built = variables.get("TZPATH")
    path = asked if asked is not None else built if isinstance(built, str) and built else _TZPATH
    for folder in (*path.split(":"), *(f"{site}/tzdata/zoneinfo" for site in sites)):
        if folder.startswith("/") and tree.is_file(f"{folder}/{_ZONE}"):
            return folder
    return ""


def _certificates(
    tree: FileTree, contents: Contents, config: ImageConfig, python: Interpreter, shared: bytes
) -> Certificates:
    own = _openssl_dir(tree, contents, config, python, shared)
    file = config.variable("SSL_CERT_FILE") or (f"{own}/cert.pem" if own else "")
    directory = config.variable("SSL_CERT_DIR") or (f"{own}/certs" if own else "")
    in_file = file.startswith("/") and tree.is_file(file)
    in_directory = any(_HASHED.fullmatch(name) for row in directory.split(":") if row for name in tree.children(row))
    return Certificates(
        bundles=tuple(path for path in _BUNDLES if tree.is_file(path)),
        file=file,
        directory=directory,
        found=in_file or in_directory,
    )


def _openssl_dir(tree: FileTree, contents: Contents, config: ImageConfig, python: Interpreter, shared: bytes) -> str:
    """OpenSSL's own folder, from whatever holds libcrypto: the program, ``_ssl``, or the library; else ""."""
    for data in (python.data, shared):
        if (match := _OPENSSL_DIR.search(data)) is not None:
            return match[1].decode("utf-8", "replace")
    folder = f"{python.stdlib}/lib-dynload"
    for name in tree.children(folder):
        if name.startswith("_ssl.") and name.endswith(".so"):
            match = _OPENSSL_DIR.search(contents.get(f"{folder}/{name}") or b"")
            if match is not None:
                return match[1].decode("utf-8", "replace")
    for name in ("libcrypto.so.3", "libcrypto.so.1.1"):
        found = facts_libraries.library(tree, contents, config, python, name)
        match = _OPENSSL_DIR.search(found[1]) if found else None
        if match is not None:
            return match[1].decode("utf-8", "replace")
    return ""


def _shells(tree: FileTree, config: ImageConfig) -> tuple[str, ...]:
    """Shells by the first of their paths; a folder that is a link to one before it has nothing new."""
    folders = dict.fromkeys(
        ("/bin", "/usr/bin", "/usr/local/bin", *(config.variable("PATH") or DEFAULT_PATH).split(":"), "/busybox")
    )
    found: dict[tuple[str | None, str], str] = {}
    for folder in folders:
        for name in _SHELLS if folder.startswith("/") else ():
            entry = tree.follow(f"{folder}/{name}")
            if entry is not None and entry.mode & 0o111 and tree.is_file(f"{folder}/{name}"):
                found.setdefault((tree.resolve(folder), name), f"{folder}/{name}")
    return tuple(found.values())


def _rows(contents: Contents, path: str) -> list[list[str]]:
    text = (contents.get(path, _TEXT) or b"").decode("utf-8", "replace")
    return [line.split(":") for line in text.splitlines() if not line.startswith("#")]


def _users(contents: Contents) -> tuple[User, ...]:
    """passwd(5), in its order; lines that are none are left out."""
    return tuple(
        User(name=row[0], uid=int(row[2]), gid=int(row[3]), home=row[5], shell=row[6])
        for row in _rows(contents, "/etc/passwd")
        if len(row) == 7 and row[0] and _is_id(row[2]) and _is_id(row[3])
    )


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 11 and int(text) < _ID_MOST


def run_as(config: ImageConfig, users: tuple[User, ...], groups: list[list[str]]) -> RunAs | None:
    """What ``user``, ``uid``, ``user:group`` and their mixtures mean (OCI image spec, config.md, "User").

    ``groups`` are the fields of group(5). A number that is in no file stays what it is, with group 0. None for a
    name that the image does not have.
    """
    name, _, group = config.user.partition(":")
    name = name or "0"
    row = next((user for user in users if name in (user.name, str(user.uid))), None)
    if row is None and not _is_id(name):
        return None
    uid, gid = (row.uid, row.gid) if row else (int(name), 0)
    if _is_id(group):
        gid = int(group)
    elif group:
        found = next((fields for fields in groups if len(fields) > 2 and fields[0] == group), None)
        if found is None or not _is_id(found[2]):
            return None
        gid = int(found[2])
    home = config.variable("HOME") or (row.home if row else "") or "/"
    return RunAs(uid=uid, gid=gid, name=row.name if row else "", home=home)
