"""Where pip in a builder finds packages: the settings of the builder's own image, else the host's in pip's words."""

import dataclasses
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from dpbuild.adapters import rootfs
from dpbuild.adapters.indexes import Indexes, pip_files, pip_settings
from dpbuild.adapters.logins import Login
from dpbuild.errors import LockError
from dpbuild.frozen import field, frozen
from dpbuild.model.lock import LockedFile
from dpbuild.oci.descriptor import Pairs
from dpbuild.ports.sandbox import Mount
from dpbuild.pypa.pylock import basename

# Where folders of the host that hold packages are in the builder.
_PLACE: Final = "/build/links"
# What of an image's environment concerns fetching, beside PIP_*: how to get out, and whom to trust.
_OUTSIDE: Final = re.compile(
    r"PIP_\w+|(?:https?|all|no)_proxy|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC", re.IGNORECASE
)
# Variables of pip that hold addresses of packages, or folders.
ADDRESSES: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
_OWN: Final = ("index-url", "extra-index-url", "no-index", "find-links")
# Where distributions keep the authorities that they trust, in one file.
_BUNDLES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@frozen
class HostIndexes:
    """The host's indexes. ``index`` are variables of pip that may name folders of the host, relative to the project;
    ``sources`` are the projects for which uv is told of an index; ``netrc`` is a file of the host, or "".
    """

    index: Pairs = field(default=(), shown=False)
    sources: tuple[str, ...] = ()
    netrc: str = ""


@dataclasses.dataclass(slots=True)
class Places:
    """Folders of the host that the builder gets, and what they are called there."""

    directory: str
    folders: dict[str, str] = dataclasses.field(default_factory=dict)

    def inside(self, text: str) -> str:
        """An address of packages as it is in the builder. Raises LockError for a folder that is not there."""
        if not local(text):
            return text
        path = Path(unquote(urlsplit(text).path) if text.startswith("file:") else Path(self.directory, text)).resolve()
        if not path.is_dir():
            raise LockError("packages are to come from a folder that is not there", where=str(path))
        place = self.folders.setdefault(str(path), f"{_PLACE}/{len(self.folders)}")
        return f"file://{place}"

    def mounts(self) -> tuple[Mount, ...]:
        """The folders, for a sandbox."""
        return tuple(Mount(source=source, target=target) for source, target in self.folders.items())

    def file(self, name: str, url: str, sha256: str) -> LockedFile:
        """A file as a lock names it: one of the host by its path, relative where it is in the project."""
        path = unquote(urlsplit(url).path)
        for source, target in self.folders.items():
            if url.startswith(f"file://{target}/"):
                found = Path(source, posixpath.relpath(path, target))
                project = Path(self.directory).resolve()
                relative = found.relative_to(project) if found.is_relative_to(project) else found
                return LockedFile(name=name, sha256=sha256, path=relative.as_posix())
        return LockedFile(name=name or basename(url), sha256=sha256, url=bare(url))


def local(text: str) -> bool:
    """Whether an address is a folder's."""
    return "://" not in text or text.startswith("file:")


def bare(url: str) -> str:
    """The address without user, password and fragment."""
    return re.sub(r"^([a-z][a-z0-9+.-]*://)[^/?#]*@", r"\1", url, flags=re.IGNORECASE).partition("#")[0]


def host_indexes(found: Indexes, login: Callable[[str], Login | None]) -> HostIndexes:
    """What uv is told, in pip's words (uv's reference, "Environment variables" and "Settings")."""
    env, uv = found.environment, found.settings
    rows = [row for row in uv.get("index", []) if isinstance(row, dict) and row.get("url") and not row.get("explicit")]
    given = [str(row["url"]) for row in rows if row.get("default")]
    main = [_url(env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL", "")), *given, str(uv.get("index-url", ""))]
    more = [_url(row) for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL") for row in env.get(name, "").split()]
    more += [str(row["url"]) for row in rows if not row.get("default")]
    more += _texts(uv.get("extra-index-url"))
    links = env.get("UV_FIND_LINKS", "").replace(",", " ").split() or _texts(uv.get("find-links"))
    hosts = env.get("UV_INSECURE_HOST", "").split() or _texts(uv.get("allow-insecure-host"))
    nothing = env.get("UV_NO_INDEX", "") not in ("", "0", "false") or uv.get("no-index") is True
    values = {
        "PIP_INDEX_URL": next((_with(row, login) for row in main if row), ""),
        "PIP_EXTRA_INDEX_URL": " ".join(_with(row, login) for row in dict.fromkeys(more)),
        "PIP_FIND_LINKS": " ".join(_with(row, login) for row in links),
        "PIP_TRUSTED_HOST": " ".join(hosts),
        "PIP_NO_INDEX": "1" if nothing else "",
    }
    sources = uv.get("sources", {})
    named = [name for name, value in sources.items() if "index" in str(value)] if isinstance(sources, dict) else []
    return HostIndexes(
        index=tuple((name, value) for name, value in values.items() if value),
        sources=tuple(sorted(named)),
        netrc=found.netrc,
    )


def _url(text: str) -> str:
    """The address of ``name=https://…``."""
    name, equals, rest = text.partition("=")
    return rest if equals and "/" not in name else text


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(row) for row in value] if isinstance(value, list) else []


def _with(url: str, login: Callable[[str], Login | None]) -> str:
    """The address with the login that uv would use for it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    known = login(host) if parts.scheme in ("http", "https") else None
    if known is None or parts.password:
        return url
    user, password = (quote(row, safe="") for row in known)
    return parts._replace(netloc=f"{user}:{password}@{host}").geturl()


@frozen
class Settings:
    """What pip gets. ``own``: the builder says where packages come from; then ``certificates`` are those of the
    authorities that it trusts, None where it names them to pip itself.
    """

    env: Mapping[str, str] = field(shown=False)
    own: bool
    certificates: bytes | None = b""


def settings(root: str, interpreter: str, image: Pairs | None, extra: Pairs, host: Callable[[], Pairs]) -> Settings:
    """For a builder whose files are in ``root``. ``image`` is the environment of an image that the configuration names,
    None where the builder is made of the base; ``extra`` is ``env`` of the configuration.

    Where the image's files or variables, or ``extra``, say where packages come from, the host's indexes do not count.
    """
    variables = {name: value for name, value in image or () if _OUTSIDE.fullmatch(name)} | dict(extra)
    prefix = posixpath.dirname(posixpath.dirname(interpreter))
    files = () if image is None else pip_files(variables, "/nonexistent", prefix)
    found = pip_settings((_read(root, path) for path in files), variables)
    own = any(found.get(key) for key in _OWN)
    # A base's own files are no configuration of the builder.
    env = {**({"PIP_CONFIG_FILE": "/dev/null"} if image is None else {}), **({} if own else dict(host())), **variables}
    if found.get("cert") or {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} & {*variables}:
        return Settings(env=env, own=own, certificates=None)
    trusted = (_read(root, path) for path in (variables.get("SSL_CERT_FILE", ""), *_BUNDLES) if path)
    return Settings(env=env, own=own, certificates=next((row for row in trusted if row), "").encode())


def _read(root: str, path: str) -> str:
    try:
        return Path(rootfs.inside(root, path)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


_URL: Final = re.compile(r"\(?\b(?:https?|file)://[^\s`'\"<>]+[^\s`'\"<>.,;:)]\)?")


def hidden(text: str, values: Iterable[str]) -> str:
    """``text`` without addresses, and without the passwords that ``values``, which are addresses, hold."""
    for value in values:
        for word in value.split():
            text = text.replace(word, "the index")
            try:
                password = urlsplit(word).password
            except ValueError:
                continue
            text = text.replace(password, "…") if password else text
    return _URL.sub("the index", text)
