"""Time zones, certificates, shells and users of an image."""

import re
from typing import Any, Final

from dpbuild.archive.overlay import FileTree
from dpbuild.model.surroundings import Certificates, Surroundings
from dpbuild.oci.config import ImageConfig
from dpbuild.stages import accounts, facts_libraries
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
    users = accounts.users(_text(contents, "/etc/passwd"))
    try:
        user = accounts.run_as(
            config.user, users, accounts.groups(_text(contents, "/etc/group")), home=config.variable("HOME") or ""
        )
    except LookupError:
        user = None
    return Surroundings(
        zoneinfo=zoneinfo,
        legacy_zones=bool(zoneinfo) and tree.is_file(f"{zoneinfo}/{_LEGACY_ZONE}"),
        certificates=_certificates(tree, contents, config, python, shared),
        shells=_shells(tree, config),
        users=users,
        user=user,
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


def _text(contents: Contents, path: str) -> str:
    return (contents.get(path, _TEXT) or b"").decode("utf-8", "replace")
