"""Package indexes as people have configured them, in uv's words.

``UV_*`` wins over ``[tool.uv]`` and ``uv.toml``, those over ``PIP_*``, that over pip's files. Nothing here
reads the environment or a disk: the composition root gives what it read.
"""

import configparser
import netrc
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dpbuild.adapters.logins import KnownLogins, Login
from dpbuild.errors import ConfigError
from dpbuild.frozen import field, frozen

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
# What uv is given of the environment beside UV_*: how to reach an index and how to find credentials.
_KEPT = frozenset(
    {
        *("PATH", "HOME", "USER", "TMPDIR", "NETRC", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT", "DBUS_SESSION_BUS_ADDRESS", "PYTHON_KEYRING_BACKEND"),
        *_PROXIES,
        *(name.lower() for name in _PROXIES),
    }
)
_UV_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_NO_INDEX")
_UV_INDEX_KEYS = ("index", "index-url", "extra-index-url", "no-index")
# Options of pip that say where packages come from (pip's documentation, "Configuration").
_PIP_OPTIONS = ("index-url", "extra-index-url", "find-links", "no-index", "cert", "trusted-host")


@frozen
class Indexes:
    """``environment`` is all that uv gets; ``keyring``: whether uv asks one; ``notes`` are for the user.

    ``settings`` are those of uv's files, ``netrc`` is the path of that file, or "".
    """

    environment: Mapping[str, str]
    logins: KnownLogins
    keyring: bool
    left_out: str
    settings: Mapping[str, Any] = field(default_factory=dict, shown=False)
    netrc: str = ""


def configured(environ: Mapping[str, str], *, home: str, prefix: str, directory: str) -> Indexes:
    """The indexes for the project in ``directory``, from the environment that is given and from the files
    that uv and pip read. ``prefix`` is the running interpreter's. Raises ConfigError for a broken netrc.
    """
    config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    named = environ.get("UV_CONFIG_FILE", "")
    places = (named,) if named else (f"{directory}/uv.toml", f"{config}/uv/uv.toml", "/etc/uv/uv.toml")
    pyproject = None if named else (*read_texts([f"{directory}/pyproject.toml"]), None)[0]
    uv = uv_settings(pyproject, *(read_texts(places) if environ.get("UV_NO_CONFIG", "") in ("", "0") else ()))
    pip = pip_settings(read_texts(pip_files(environ, home, prefix)), environ)
    added, left_out = uv_environment(environ, pip, uv)
    # What is empty is not set: uv would take an empty HTTP_PROXY for a word against http_proxy.
    kept = {name: value for name, value in environ.items() if value and (name in _KEPT or name.startswith("UV_"))}
    environment = {**kept, **_proxies(kept), **added}
    file = environ.get("NETRC") or f"{home}/.netrc"
    file = file if Path(file).is_file() else ""
    return Indexes(
        environment=environment,
        logins=logins(environment, uv, file or None),
        keyring=(environment.get("UV_KEYRING_PROVIDER") or uv.get("keyring-provider")) == "subprocess",
        left_out=left_out,
        settings=uv,
        netrc=file,
    )


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables in both spellings: where they differ, uv and curl disagree on which counts.

    Lower case wins, as it does for dpbuild's own requests (``registry.hosts.Proxies``).
    """
    pairs = ((name, environ.get(name.lower()) or environ.get(name)) for name in _PROXIES)
    return {spelling: value for name, value in pairs if value for spelling in (name, name.lower())}


def pip_files(environ: Mapping[str, str], home: str, prefix: str) -> tuple[str, ...]:
    """Where pip's configuration files may be on Linux and macOS, the least important first."""
    chosen = environ.get("PIP_CONFIG_FILE", "")
    if chosen == "/dev/null":
        return ()
    system = [
        f"{folder}/pip/pip.conf" for folder in reversed(environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")) if folder
    ]
    config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    user = [f"{home}/.pip/pip.conf", f"{config}/pip/pip.conf"]
    mac = ["/Library/Application Support/pip/pip.conf", f"{home}/Library/Application Support/pip/pip.conf"]
    return (*system, "/etc/pip.conf", *mac, *user, f"{prefix}/pip.conf", *([chosen] if chosen else []))


def pip_settings(texts: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The options of pip that name indexes, from the texts of its files (least important first) and ``PIP_*``.

    A file that pip itself could not read is passed over.
    """
    out: dict[str, str] = {}
    for text in texts:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(text)
        except configparser.Error:
            continue
        for section in ("global", "install", "download"):
            if parser.has_section(section):
                rows = {key.replace("_", "-"): value for key, value in parser.items(section)}
                out |= {key: value for key, value in rows.items() if key in _PIP_OPTIONS}
    for key in _PIP_OPTIONS:
        if value := environ.get("PIP_" + key.upper().replace("-", "_")):
            out[key] = value
    return out


def uv_settings(pyproject: str | None, *uv_toml: str | None) -> dict[str, Any]:
    """uv's settings from ``[tool.uv]`` and the texts of ``uv.toml`` files; earlier ones win."""
    out: dict[str, Any] = {}
    tables: list[Any] = []
    for number, text in enumerate((pyproject, *uv_toml)):
        try:
            table = tomllib.loads(text or "")
        except tomllib.TOMLDecodeError:
            continue
        tables.append(table.get("tool", {}).get("uv", {}) if number == 0 else table)
    for table in reversed(tables):
        if isinstance(table, dict):
            out |= table
    return out


def uv_environment(
    environ: Mapping[str, str], pip: Mapping[str, str], uv: Mapping[str, Any]
) -> tuple[dict[str, str], str]:
    """The ``UV_*`` variables that carry pip's settings to uv, and a note on what was left out, if anything was.

    Where uv is told of an index by its own means, pip's are not looked at: mixing two lists of indexes is how
    a package comes from the wrong one. Folders that pip is told of for the whole machine are left out, because
    they would make the lock depend on the machine; an index that is a folder counts only as the main one.
    """
    out: dict[str, str] = {}
    folders: list[str] = []
    own = any(environ.get(name) for name in _UV_INDEX_VARIABLES) or any(uv.get(key) for key in _UV_INDEX_KEYS)
    if not own:
        if main := pip.get("index-url", "").strip():
            out["UV_DEFAULT_INDEX"] = main
        extra = pip.get("extra-index-url", "").split()
        remote = [url for url in extra if not _local(url)]
        if remote:
            out["UV_INDEX"] = " ".join(remote)
        folders += [url for url in extra if _local(url)]
        if pip.get("no-index", "").strip().lower() in ("1", "true", "yes", "on"):
            out["UV_NO_INDEX"] = "1"
    if not environ.get("UV_FIND_LINKS") and not uv.get("find-links"):
        links = pip.get("find-links", "").split()
        if remote := [url for url in links if not _local(url)]:
            out["UV_FIND_LINKS"] = ",".join(remote)
        folders += [url for url in links if _local(url)]
    if (cert := pip.get("cert", "").strip()) and not environ.get("SSL_CERT_FILE"):
        out["SSL_CERT_FILE"] = cert
    if (hosts := pip.get("trusted-host", "").split()) and not environ.get("UV_INSECURE_HOST"):
        out["UV_INSECURE_HOST"] = " ".join(hosts)
    named = ", ".join(dict.fromkeys(folders))
    return out, f"pip's folders of this machine are left out, find-links takes one in: {named}" if named else ""


def _local(url: str) -> bool:
    return "://" not in url or url.startswith("file:")


def logins(environment: Mapping[str, str], uv: Mapping[str, Any], netrc_file: str | None = None) -> KnownLogins:
    """User and password as uv would use them: in URLs, by the name of an index, by netrc.

    ``environment`` is the one that uv gets; ``netrc_file`` a path that exists. Raises ConfigError for a netrc
    that cannot be read.
    """
    kept: dict[str, Login] = {}
    if netrc_file is not None:
        try:
            hosts = netrc.netrc(netrc_file).hosts
        except (OSError, netrc.NetrcParseError) as error:
            reason = error.msg if isinstance(error, netrc.NetrcParseError) else str(error.strerror)
            raise ConfigError(f"netrc cannot be read: {reason}", where=netrc_file) from None
        kept = {host: (user, password) for host, (user, _, password) in hosts.items()}
    rows = [row for row in uv.get("index", []) if isinstance(row, dict) and isinstance(row.get("url"), str)]
    named = [(str(row.get("name", "")), str(row["url"])) for row in rows]
    for key in ("index-url", "extra-index-url", "find-links"):
        value = uv.get(key, [])
        named += [("", url) for url in ([value] if isinstance(value, str) else value) if isinstance(url, str)]
    for variable in (*_UV_INDEX_VARIABLES, "UV_FIND_LINKS"):
        for word in environment.get(variable, "").replace(",", " ").split():
            name, equals, url = word.partition("=")
            named.append((name, url) if equals and "://" in url and "://" not in name else ("", word))
    found: dict[str, Login] = {}
    urls: dict[str, str] = {}
    for name, url in named:
        if login := _login(name, url, environment):
            parts = urlsplit(url)
            netloc = parts.netloc.rpartition("@")[2]
            found[netloc], urls[netloc] = login, parts._replace(netloc=netloc).geturl()
    return KnownLogins(hosts=found, urls=urls, netrc=kept)


def _login(name: str, url: str, environment: Mapping[str, str]) -> Login | None:
    try:
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:
        return None
    if name:
        # uv's documentation, "Authentication": the index's name in capitals, everything else as underscores.
        word = "".join(letter if letter.isalnum() else "_" for letter in name.upper())
        user = environment.get(f"UV_INDEX_{word}_USERNAME", user)
        password = environment.get(f"UV_INDEX_{word}_PASSWORD", password)
    return (user, password) if user or password else None


def read_texts(paths: Iterable[str]) -> tuple[str, ...]:
    """The texts of those files that are there and can be read."""
    out = []
    for path in paths:
        try:
            out.append(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
    return tuple(out)
