"""What uv says when it fails, in dpbuild's errors: without addresses of indexes, and without credentials."""

import re

from dpbuild.errors import LockError, NoCompatibleWheel, UnsupportedRequirement
from dpbuild.model.target import Target
from dpbuild.pypa import normalized

_NO_WHEEL = re.compile(
    r"(?:(all versions of )([A-Za-z0-9][\w.-]*)|([A-Za-z0-9][\w.-]*?)((?:[=<>!~]=?|===)[^\s,]+(?:,[^\s,]+)*))"
    r" ha(?:s|ve) no (?:usable wheels|wheels with a matching)"
)
_SDIST = re.compile(r"Wheels are required for `([^`]+)` because building from source is disabled")
_NETWORK = re.compile(
    r"error sending request|Failed to fetch|Request failed|HTTP status|dns error|operation timed out",
    re.I,
)
_LOGIN = re.compile(r"lack of valid authentication|\b401\b|\b403\b|Unauthorized|Forbidden")
_URL = re.compile(r"\(?\b(?:https?|file|git\+[a-z]+)://[^\s`'\"<>]+[^\s`'\"<>.,;:)]\)?")
_KEEP = 12


def clean(text: str) -> str:
    """uv's explanation: without warnings, colours, prefixes, and without the addresses that it names."""
    rows: list[str] = []
    keep = True
    for line in text.splitlines():
        word = line.strip().partition(":")[0]
        if re.match(r"(warning|error|hint|Resolved|Using|Updating)\b", line.strip()):
            keep = word in ("error", "hint")
        if "No solution found when resolving" in line or "--no-build" in line:
            continue
        if keep and line.strip():
            rows.append(re.sub(r"^\s*(?:error|cause|hint): ", "", line).strip())
    cleaned = [_URL.sub("the index", row) for row in rows]
    return "\n  ".join(cleaned[:_KEEP] + (["…"] if len(cleaned) > _KEEP else []))


def sdist_only(text: str) -> set[str]:
    """The projects (normalised) that uv found, but only as an sdist."""
    return {normalized(name) for name in _SDIST.findall(text)}


def disk_full(text: str) -> bool:
    """Whether uv failed for want of room (ENOSPC, EDQUOT)."""
    return re.search(r"\(os error (?:28|122)\)", text) is not None


def translate(text: str, target: Target) -> LockError | NoCompatibleWheel:
    """The error for a resolution that failed."""
    said = clean(text)
    if _LOGIN.search(text):
        return LockError(
            "the package index refuses the credentials, or wants some",
            hint="give them by netrc, keyring, or UV_INDEX_<NAME>_USERNAME and UV_INDEX_<NAME>_PASSWORD",
        )
    if "No solution found" not in text and "unsatisfiable" not in text:
        if "network was disabled" in text or "--offline" in text:
            return LockError(f"resolving needs the package index, and this run is offline\n  {said}")
        if _NETWORK.search(text):
            return LockError(
                f"the package index cannot be reached: {_cause(text)}",
                hint="look at UV_DEFAULT_INDEX, UV_INDEX and the proxy settings",
            )
        if "Failed to build" in text or "build-hashes" in text or "Failed to download and build" in text:
            return UnsupportedRequirement(f"a requirement can only be had by building it\n  {said}")
        return LockError(f"uv failed: {said or 'without saying why'}")
    if "network was disabled" in text:
        return LockError(f"resolving needs the package index, and this run is offline\n  {said}")
    # The last one is that which uv's explanation ends with.
    missing = [_subject(found) for found in _NO_WHEEL.finditer(text)]
    if missing:
        name, words = missing[-1]
        return NoCompatibleWheel(
            f"{words} wheel for {target.words}{_there(text, name)}",
            hint="choose a version that has one, or another base",
        )
    return UnsupportedRequirement(f"the requirements have no solution for {target.words}\n  {said}")


def _subject(found: re.Match[str]) -> tuple[str, str]:
    """The project, and the beginning of a sentence about it."""
    if found[1]:
        return found[2], f"no version of {found[2]} has a"
    return found[3], f"{found[3]} {found[4].removeprefix('==')} has no"


def _there(text: str, name: str) -> str:
    found = re.findall(
        rf"wheels(?: are available)? for `{re.escape(name)}` \(v?([^)]*)\) (?:on|with) the following [^:]*: (.*)",
        text,
        re.I,
    )
    rows = [f"{version} for {what.replace('`', '')}" for version, what in found]
    if rows:
        return f"; there is {'; '.join(rows)}"
    if normalized(name) in sdist_only(text):
        return "; it has an sdist, which would have to be built"
    return ""


def _cause(text: str) -> str:
    causes = [line.partition("cause: ")[2] for line in text.splitlines() if "cause: " in line]
    return _URL.sub("the index", causes[-1]) if causes else clean(text)


def translate_export(text: str) -> LockError:
    """The error for a ``uv.lock`` that could not be exported."""
    said = clean(text)
    if found := re.search(r"(Extra|Group) `([^`]+)` is not defined", text):
        return UnsupportedRequirement(f"uv.lock has no {found[1].lower()} {found[2]!r}", where="uv.lock")
    return UnsupportedRequirement(f"uv.lock cannot be used: {said}", where="uv.lock", hint="run uv lock")
