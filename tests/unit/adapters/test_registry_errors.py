"""Answers as errors: the right class, short, printable, without secrets."""

import json

import pytest

from dpbuild.adapters.registry.errors import SHOWN, BlobUnknown, bare, codes, failure, printable
from dpbuild.errors import NotFound, RateLimited, RegistryError, Unauthorized

URL = "https://r.example.org/v2/app/manifests/1?token=sekrit"


def body(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, Unauthorized, 91),
        (403, Unauthorized, 91),
        (404, NotFound, 92),
        (429, RateLimited, 93),
        (500, RegistryError, 90),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[RegistryError], code: int) -> None:
    error = failure("cannot read it", status, URL, body("DENIED", "you shall not"))
    assert type(error) is kind
    assert error.exit_code == code
    assert error.what.startswith(f"cannot read it: r.example.org answered {status} (DENIED: you shall not)")
    assert error.where == "https://r.example.org/v2/app/manifests/1"
    assert "sekrit" not in f"{error}{error.hint}"


def test_an_unknown_blob_can_be_told_apart() -> None:
    for status in (400, 404):
        assert type(failure("cannot", status, URL, body("MANIFEST_BLOB_UNKNOWN", ""))) is BlobUnknown
    assert type(failure("cannot", 404, URL, body("BLOB_UNKNOWN", ""))) is NotFound
    assert type(failure("cannot", 400, URL, body("MANIFEST_INVALID", ""))) is RegistryError


def test_the_login_is_named_but_not_told() -> None:
    error = failure(
        "cannot",
        401,
        URL,
        b"password hunter2",
        secrets=("hunter2",),
        login="~/.docker/config.json",
        registry="docker.io",
    )
    assert "~/.docker/config.json" in error.what
    assert error.hint == "docker login docker.io"
    assert "hunter2" not in error.what
    assert "no credentials" in failure("cannot", 401, URL, b"").what


@pytest.mark.parametrize(
    "text", [b"", b"<html>", b"[]", b'{"errors": 1}', b'{"errors": [1]}', b'{"errors": {}}', b"\xff" * 9]
)
def test_bodies_of_another_form(text: bytes) -> None:
    assert codes(text) == []
    assert failure("cannot", 500, URL, text).what.startswith("cannot: r.example.org answered 500")


def test_what_is_shown_is_printable_and_short() -> None:
    assert printable("a\x1b[31m\r\n\x00b\u202ec\u2028d") == "a [31m b c d"
    assert len(printable("x" * 10_000)) == SHOWN
    assert (
        printable("Authorization: Bearer abc.def-ghi and Basic dXNlcjpwdw==")
        == "Authorization: Bearer *** and Basic ***"
    )
    assert printable("it was hunter2", ("hunter2",)) == "it was ***"


def test_addresses_lose_what_may_be_secret() -> None:
    assert bare("https://user:pw@h.example.org:1/a/b?sig=1#x") == "https://h.example.org:1/a/b"


def test_hints() -> None:
    assert "limits the size" in str(failure("cannot", 413, URL, b"").hint)
    assert "--plain-http" in str(failure("cannot", 400, URL, b"Client sent an HTTP request to an HTTPS server.").hint)
