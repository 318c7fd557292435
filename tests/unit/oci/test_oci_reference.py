"""References in all their spellings."""

import pytest

from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import (
    ArchiveReference,
    ComposeReference,
    DaemonReference,
    LayoutReference,
    RegistryReference,
    parse,
    parse_registry,
)

HEX = "ab" * 32
DIGEST = Digest(HEX)


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("python", "docker.io", "library/python", None, None),
        ("python:3.13", "docker.io", "library/python", "3.13", None),
        ("acme/api", "docker.io", "acme/api", None, None),
        ("docker.io/python", "docker.io", "library/python", None, None),
        ("index.docker.io/acme/api:1", "docker.io", "acme/api", "1", None),
        ("gcr.io/distroless/python3-debian13:nonroot", "gcr.io", "distroless/python3-debian13", "nonroot", None),
        ("localhost/app", "localhost", "app", None, None),
        ("localhost:5000/app:1", "localhost:5000", "app", "1", None),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000", "a/b/c", None, None),
        ("[::1]:5000/app:1", "[::1]:5000", "app", "1", None),
        ("[::1]/app", "[::1]", "app", None, None),
        ("host:5000/app", "host:5000", "app", None, None),
        ("MyHost/app", "MyHost", "app", None, None),
        ("r.example.org/a_b/c__d/e--f.g:T_1.2-x", "r.example.org", "a_b/c__d/e--f.g", "T_1.2-x", None),
        (f"r.example.org/app@sha256:{HEX}", "r.example.org", "app", None, DIGEST),
        (f"r.example.org/app:1@sha256:{HEX}", "r.example.org", "app", "1", DIGEST),
        (f"docker://r.example.org/app:1@sha256:{HEX}", "r.example.org", "app", "1", DIGEST),
        (" python ", "docker.io", "library/python", None, None),
    ],
)
def test_registry_references(text: str, registry: str, repository: str, tag: str | None, digest: Digest | None) -> None:
    found = parse(text)
    assert found == RegistryReference(registry=registry, repository=repository, tag=tag, digest=digest)
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "/",
        "app:",
        "app:-x",
        "app:" + "x" * 129,
        "App",
        "a//b",
        "r.example.org/",
        "r.example.org/App",
        "r.example.org/app:1:2",
        "r.example.org/-app",
        "r.example.org/app-",
        "r.example.org/a___b",
        "r.example.org/a..b",
        "r.example.org:port/app",
        "-r.example.org/app",
        "user@r.example.org/app",
        "r.example.org/app?x=1",
        "r.example.org/app#x",
        "r.example.org/../app",
        "r.example.org/a\nb",
        "https://r.example.org/app",
        "app@sha256:short",
        "app@sha256:" + "AB" * 32,
        "app@md5:" + "ab" * 16,
        "app@sha512:" + "ab" * 64,
        "app@nothing",
        "r.example.org/" + "a" * 256,
        "oci:",
        "oci-archive:",
        "docker-archive:",
        "docker-daemon:",
        "compose:",
        f"compose:@sha256:{HEX}",
        "compose:@20260901T000000Z",
        "compose:debian13@",
        "compose:debian13@2026",
        "compose:debian13@20261301T000000Z",
        "compose:debian13@20260230",
        "compose:debian13@20260901T240000Z",
        "compose:debian13@20260901T000000",
        "compose:debian13@2026 901T000000Z",
        "compose:debian13:nonroot@20260901T000000Z",
        "compose:debian13@yesterday",
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oci:path", LayoutReference(path="path")),
        ("oci:/a/b:1.0", LayoutReference(path="/a/b", tag="1.0")),
        (f"oci:/a/b@sha256:{HEX}", LayoutReference(path="/a/b", digest=DIGEST)),
        (f"oci:/a/b:1@sha256:{HEX}", LayoutReference(path="/a/b", tag="1", digest=DIGEST)),
        ("oci:/a:b/c", LayoutReference(path="/a:b/c")),
        ("oci:/home/me@work/image", LayoutReference(path="/home/me@work/image")),
        ("oci-archive:a.tar", ArchiveReference(kind="oci-archive", path="a.tar")),
        (f"oci-archive:a.tar@sha256:{HEX}", ArchiveReference(kind="oci-archive", path="a.tar", digest=DIGEST)),
        ("docker-archive:/x/a.tar", ArchiveReference(kind="docker-archive", path="/x/a.tar")),
        ("docker-daemon:app:1", DaemonReference(name="app:1")),
        (f"docker-daemon:sha256:{HEX}", DaemonReference(name=f"sha256:{HEX}")),
        ("compose:debian13", ComposeReference(suite="debian13")),
        ("compose:debian12:nonroot", ComposeReference(suite="debian12", variant="nonroot")),
        (
            f"compose:debian12:nonroot@sha256:{HEX}",
            ComposeReference(suite="debian12", variant="nonroot", digest=DIGEST),
        ),
        ("compose:debian13@20260901T120000Z", ComposeReference(suite="debian13", snapshot="20260901T120000Z")),
        ("compose:debian13@20260901", ComposeReference(suite="debian13", snapshot="20260901T000000Z")),
        (
            f"compose:debian13@20260901T000000Z:debug@sha256:{HEX}",
            ComposeReference(suite="debian13", variant="debug", snapshot="20260901T000000Z", digest=DIGEST),
        ),
    ],
)
def test_other_references(text: str, expected: object) -> None:
    found = parse(text)
    assert found == expected
    assert parse(str(found)) == found


def test_what_a_reference_selects() -> None:
    plain = parse_registry("r.example.org/app")
    assert (plain.selector, plain.name) == ("latest", "r.example.org/app")
    assert parse_registry("r.example.org/app:1").selector == "1"
    both = parse_registry(f"r.example.org/app:1@sha256:{HEX}")
    assert both.selector == f"sha256:{HEX}"
    assert str(both.at(Digest.of(b""))) == f"r.example.org/app@{Digest.of(b'')}"
