"""A registry's answers as errors of ours: what, where, what to do; short, printable and without secrets."""

import json
import re
from urllib.parse import urlsplit

from dpbuild.errors import NotFound, RateLimited, RegistryError, Unauthorized

# How much of an error's body is read, and how much of it is shown, in bytes and characters.
BODY_LIMIT = 64 << 10
SHOWN = 300

_AUTHORIZATION = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}")


class BlobUnknown(RegistryError):
    """A manifest was refused because the registry does not have one of its blobs."""


def printable(text: str, secrets: tuple[str, ...] = ()) -> str:
    """``text`` on one line, capped, without control and format characters, and without ``secrets``."""
    import unicodedata

    for secret in secrets:
        if len(secret) > 2:
            text = text.replace(secret, "***")
    text = _AUTHORIZATION.sub(r"\1 ***", text)
    text = "".join(" " if unicodedata.category(char).startswith(("C", "Z")) else char for char in text)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def bare(url: str) -> str:
    """``url`` without user information, query and fragment, any of which may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def codes(body: bytes) -> list[tuple[str, str]]:
    """Code and message of each error in a body (distribution spec, "Error Codes"); [] if it has another form."""
    try:
        rows = json.loads(body)["errors"]
        return [(str(row.get("code", "")), str(row.get("message", ""))) for row in rows]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return []


def failure(
    doing: str,
    status: int,
    url: str,
    body: bytes,
    *,
    secrets: tuple[str, ...] = (),
    login: str = "",
    registry: str = "",
) -> RegistryError:
    """The error for an answer that is not what was asked for.

    ``doing`` reads "cannot …"; ``login`` says which credentials were used, and ``registry`` what to log
    in to, for 401 and 403.
    """
    rows = codes(body)
    told = "; ".join(f"{code}: {message}" if message else code for code, message in rows)
    told = printable(told, secrets) if told else (printable(body.decode(errors="replace"), secrets))
    host = urlsplit(url).netloc.rpartition("@")[2]
    what = f"{doing}: {host} answered {status}" + (f" ({told})" if told else "")
    where = bare(url)
    if status in (401, 403):
        return unauthorized(what, where, registry or host, login)
    # Distribution spec, "Endpoints": a manifest that is refused may be answered with 404.
    unknown = {code for code, _ in rows}
    if status == 404 and "MANIFEST_BLOB_UNKNOWN" not in unknown:
        return NotFound(what, where=where, hint="check the name and the tag; a private image may look absent")
    if status == 429:
        return RateLimited(what, where=where, hint="try again later, or log in: named users often may ask more often")
    if unknown & {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"}:
        return BlobUnknown(what, where=where)
    hint = None
    if status == 413:
        hint = "something in front of the registry limits the size of uploads"
    elif status == 400 and b"HTTPS" in body:
        hint = "this host speaks https; leave out --plain-http"
    return RegistryError(what, where=where, hint=hint)


def unauthorized(what: str, where: str, registry: str, login: str) -> Unauthorized:
    """Refused: with which credentials, or that there were none."""
    if login:
        return Unauthorized(f"{what}; used the credentials from {login}", where=where, hint=f"docker login {registry}")
    return Unauthorized(f"{what}; no credentials were found for it", where=where, hint=f"docker login {registry}")
