"""The plainest requirements (PEP 508): a name, and perhaps releases. ``packaging``, which reads all, imports much."""

import re
from typing import Final

_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_RELEASE: Final = rf"(?:==|!=|>=|<=|>|<)[ \t]*{_NUMBER}(?:\.{_NUMBER})*"
_PLAIN: Final = re.compile(rf"[ \t]*({_NAME})[ \t]*((?:{_RELEASE}(?:[ \t]*,[ \t]*{_RELEASE})*)?)[ \t]*")


def plain(line: str) -> tuple[str, str] | None:
    """The name, and the whole as ``packaging`` writes it; None for what is not plain, or no requirement at all."""
    found = _PLAIN.fullmatch(line)
    if found is None:
        return None
    releases = sorted(re.sub(r"[ \t]", "", found[2]).split(","))
    # Of two with the same operator packaging may take one for the other.
    if len({release.rstrip("0123456789.") for release in releases}) < len(releases):
        return None
    return found[1], found[1] + ",".join(releases)
