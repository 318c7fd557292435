"""Findings: what a check says of an image."""

from enum import StrEnum

from dpbuild.frozen import frozen


class Severity(StrEnum):
    """How bad it is. An error breaks the image; a warning will break it for some; a note is good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@frozen
class Finding:
    """One thing that is wrong in one place.

    ``path`` is absolute in the image, or names what is meant (``Entrypoint``, ``Env``); ``evidence`` are the
    facts that contradict each other; ``owner`` is the package that brought the file (``numpy 2.2.6``,
    ``libc6 2.41-12``), or ""; ``fix`` says what to do about it.
    """

    rule: str
    severity: Severity
    path: str
    evidence: str
    owner: str = ""
    fix: str = ""
