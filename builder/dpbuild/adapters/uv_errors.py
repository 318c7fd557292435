"""What uv says when it fails, in dpbuild's errors: without addresses of indexes, and without credentials."""

import re

from dpbuild.errors import LockError, NoCompatibleWheel, UnsupportedRequirement
from dpbuild.model.target import Target

_NO_WHEEL = re.compile(r"([A-Za-z0-9][\w.-]*)==(\S+?) has no (?:usable wheels|wheels with a matching)")
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
        if keep and line.strip():
            rows.append(re.sub(r"^\s*(?:error|cause|hint): ", "", line).strip())
    cleaned = [_URL.sub("the index", row) for row in rows]
    return "\n  ".join(cleaned[:_KEEP] + (["…"] if len(cleaned) > _KEEP else []))


def sdist_only(text: str) -> set[str]:
    """The projects (normalised) that uv found, but only as an sdist."""
    return {re.sub(r"[-_.]+", "-", name).lower() for name in _SDIST.findall(text)}


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
    missing = list(dict.fromkeys(_NO_WHEEL.findall(text)))
    if missing:
        name, version = missing[-1]
        there = _there(text, name)
        others = f" (nor have {len(missing) - 1} other versions or projects)" if len(missing) > 1 else ""
        return NoCompatibleWheel(
            f"{name} {version} has no wheel for {target.words}{others}{there}",
            hint="choose a version that has one, or another base",
        )
    return UnsupportedRequirement(f"the requirements have no solution for {target.words}\n  {said}")


def _there(text: str, name: str) -> str:
    if re.search(rf"Wheels are required for `{re.escape(name)}`", text) or f"{name}" in sdist_only(text):
        return ": there is only an sdist"
    found = re.findall(
        rf"wheels(?: are available)? for `{re.escape(name)}` \(v?([^)]*)\) (?:on|with) the following [^:]*: (.*)",
        text,
        re.I,
    )
    rows = [f"{version}: {what.replace('`', '')}" for version, what in found]
    return f"; there are wheels for {'; '.join(rows)}" if rows else ""


def _cause(text: str) -> str:
    causes = [line.partition("cause: ")[2] for line in text.splitlines() if "cause: " in line]
    return _URL.sub("the index", causes[-1]) if causes else clean(text)


def translate_export(text: str) -> LockError:
    """The error for a ``uv.lock`` that could not be exported."""
    said = clean(text)
    if found := re.search(r"(Extra|Group) `([^`]+)` is not defined", text):
        return UnsupportedRequirement(f"uv.lock has no {found[1].lower()} {found[2]!r}", where="uv.lock")
    return UnsupportedRequirement(f"uv.lock cannot be used: {said}", where="uv.lock", hint="run uv lock")
