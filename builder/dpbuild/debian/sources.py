"""Which mirror a host uses, out of the text of its apt sources (sources.list(5)).

Only Debian's own archive counts: third parties use Debian's code names for their suites, too.
"""

from collections.abc import Iterable
from typing import Final

from dpbuild.debian.control import ControlError, fields
from dpbuild.frozen import frozen

# Names that Debian gives to its releases (Debian wiki, "DebianReleases").
_CODENAMES: Final = frozenset(
    "buster bullseye bookworm trixie forky duke sid stable oldstable oldoldstable testing unstable".split()  # noqa: SIM905
)
_KEYRING: Final = "debian-archive-"


@frozen
class Mirrors:
    """The roots that ``dists/`` and ``pool/`` are below, without a slash at the end; "" for unknown."""

    main: str = ""
    security: str = ""


def snapshot(template: str, timestamp: str) -> Mirrors:
    """The roots as of a moment. ``template`` is an address with ``{archive}``, for which ``debian`` and
    ``debian-security`` are put, and ``{timestamp}``. Raises ValueError for one that lacks either.
    """
    for part in ("{archive}", "{timestamp}"):
        if part not in template:
            raise ValueError(f"the address of Debian's snapshots lacks {part}")
    main, security = (
        template.replace("{archive}", archive).replace("{timestamp}", timestamp).rstrip("/")
        for archive in ("debian", "debian-security")
    )
    return Mirrors(main=main, security=security)


@frozen
class _Source:
    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str


def find(texts: Iterable[tuple[str, str]]) -> Mirrors:
    """The mirrors named by (file name, text) pairs; ``.sources`` files are deb822, others are one-line.

    The first that is Debian's wins, one signed by Debian's archive keys or called ``debian`` first. What
    cannot be read is read over, since the host's configuration is not ours to judge.
    """
    main: list[tuple[int, str]] = []
    security: list[tuple[int, str]] = []
    for name, text in texts:
        for source in _deb822(text) if name.endswith(".sources") else _one_line(text):
            rank = _rank(source)
            if rank is None:
                continue
            root = source.uri.rstrip("/")
            if any(_security(suite) for suite in source.suites):
                security.append((rank, root))
            elif any(suite.removesuffix("-updates") in _CODENAMES for suite in source.suites):
                main.append((rank, root))
    # sorted() keeps the order of equal ones.
    pick = [sorted(rows, key=lambda row: row[0]) for rows in (main, security)]
    return Mirrors(main=pick[0][0][1] if pick[0] else "", security=pick[1][0][1] if pick[1] else "")


def _security(suite: str) -> bool:
    return suite.endswith("-security") and suite.removesuffix("-security") in _CODENAMES


def _rank(source: _Source) -> int | None:
    """None for what is not Debian's; the lower, the surer."""
    if not source.uri.startswith(("http://", "https://")) or "main" not in source.components:
        return None
    if source.signed_by and _KEYRING not in source.signed_by:
        return None
    last = source.uri.rstrip("/").rpartition("/")[2]
    known = last in ("debian", "debian-security")
    if source.signed_by:
        return 0
    return 1 if known else None


def _one_line(text: str) -> Iterable[_Source]:
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        kind, _, rest = line.partition(" ")
        if kind != "deb":
            continue
        rest = rest.strip()
        options = ""
        if rest.startswith("["):
            options, bracket, rest = rest[1:].partition("]")
            if not bracket:
                continue
        words = rest.split()
        if len(words) < 3:
            continue
        settings = dict(word.split("=", 1) for word in options.split() if "=" in word)
        if settings.get("enabled", "yes") == "no":
            continue
        yield _Source(
            uri=words[0],
            suites=(words[1].strip("/"),),
            components=tuple(words[2:]),
            signed_by=settings.get("signed-by", ""),
        )


def _deb822(text: str) -> Iterable[_Source]:
    for stanza in _paragraphs(text):
        try:
            found = fields(stanza)
        except ControlError:
            continue
        if "deb" not in found.get("types", "").split() or found.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        signed_by = found.get("signed-by", "").strip()
        for uri in found.get("uris", "").split():
            yield _Source(
                uri=uri,
                suites=tuple(suite.strip("/") for suite in found.get("suites", "").split()),
                components=tuple(found.get("components", "").split()),
                # A key block in place says nothing about whose it is; the path is what decides then.
                signed_by="" if signed_by.startswith("-----BEGIN") else signed_by,
            )


def _paragraphs(text: str) -> Iterable[str]:
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip():
            lines.append(line)
            continue
        if lines:
            yield "\n".join(lines)
        lines = []
    if lines:
        yield "\n".join(lines)
