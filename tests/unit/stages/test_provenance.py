"""Parameters and names of a provenance; whole statements are in the functional tests."""

from typing import Any

import pytest

from dpbuild.model.config import Config
from dpbuild.oci.reference import parse
from dpbuild.stages import config as config_stage
from dpbuild.stages.evidence import purl
from dpbuild.stages.evidence.parameters import parameters, without_user

PROJECT = """
[project]
name = "app"
version = "1"
[project.optional-dependencies]
prod = []
[dependency-groups]
serve = []
"""
FULL = f"""{PROJECT}
[tool.dpbuild]
base = "registry.example/python:3"
tags = ["registry.example/app:1"]
platforms = ["linux/arm64"]
extras = ["prod"]
groups = ["serve"]
entrypoint = ["-m", "app"]
cmd = ["--help"]
env = {{A = "1"}}
labels = {{b = "2"}}
annotations = {{c = "3"}}
user = "1000:1000"
workdir = "/srv"
expose = [8000, "53/udp"]
volumes = ["/data"]
stop-signal = "SIGINT"
healthcheck = ["/usr/bin/python3", "-V"]
app = "copy"
include = ["*.txt"]
exclude = ["x"]
files = [{{from = "conf/", to = "/etc/acme/"}}]
ca-certificates = ["ca.pem"]
bytecode = false
compression = "zstd"
find-links = ["wheels/", "https://ann:s3cret@wheels.example/"]
runtime-packages = ["libpq5"]
no-binary = ["a"]
only-binary = [":all:"]
evidence = true
builder = {{packages = ["libown-dev"], network = true, repair = true}}
debian = {{mirror = "https://ann:s3cret@debian.example/"}}
[tool.dpbuild.recipes.own]
version = ">=1"
build = {{packages = ["libx-dev"], fetch = [["curl", "x"]], options = {{setup = ["a", "b"]}}, environment = {{X = "1"}}, repair = true, debian12 = {{packages = ["liby-dev"], repair = false}}}}
run = {{packages = ["libx1"], when = "built", debian13 = {{packages = ["libx2"]}}}}
"""


def load(text: str, flags: dict[str, Any] | None = None) -> Config:
    return config_stage.load("/project", {"pyproject.toml": text}.get, flags)


def test_nothing_configured_is_the_base_alone() -> None:
    assert parameters(Config(directory="/home/ann/project", base=parse("compose:debian13"))) == {
        "base": "compose:debian13:latest"
    }


def test_what_is_told_can_be_configured_again() -> None:
    """Every key but those that do not decide the image, in a form that gives the same configuration."""
    config = load(FULL)
    told = parameters(config)
    again = load(PROJECT, told)
    assert parameters(again) == told
    # A new field is either told or does not decide the image, and then it stands here.
    left_out = {
        "directory", "tags", "platforms", "check_select", "check_ignore", "evidence", "base_key",
        "debian_mirror", "debian_security_mirror", "debian_snapshot",
    }  # fmt: skip
    fields = Config.__dataclass_fields__
    for name in fields.keys() - left_out - {"project", "requirements", "find_links"}:
        if name != "script":
            assert getattr(config, name) != fields[name].default, f"{name} must be in this test"
        assert getattr(again, name) == getattr(config, name), name


def test_credentials_are_left_out() -> None:
    builder = load(PROJECT + '[tool.dpbuild.builder]\nimage = "x/y"\nenv = {TOKEN = "s3cret"}\n')
    assert parameters(builder)["builder"] == {"image": "x/y"}
    told = str(parameters(load(FULL)))
    assert "s3cret" not in told
    assert "https://wheels.example/" in told
    assert without_user("git+ssh://ann@host/x@1") == "git+ssh://host/x@1"
    assert without_user("https://host/a@b") == "https://host/a@b"


@pytest.mark.parametrize(
    ("urls", "source"),
    [
        ('Source = "https://code.example/a"', "https://code.example/a"),
        ('"Source Code" = "https://code.example/a"\nHomepage = "https://example.org"', "https://code.example/a"),
        ('repository = "https://ann:s3cret@code.example/a"', "https://code.example/a"),
        ('Homepage = "https://example.org"', ""),
        ('Source = "C:/Users/ann/a"', ""),
    ],
)
def test_where_the_sources_are(urls: str, source: str) -> None:
    assert load(f'[project]\nname = "a"\nversion = "1"\n[project.urls]\n{urls}\n').project.source == source


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (purl.pypi("zope-interface", "1.0+local"), "pkg:pypi/zope-interface@1.0%2Blocal"),
        (
            purl.debian("libcrypt1", "1:4.4.38-1", "amd64", "debian:13", "libxcrypt"),
            "pkg:deb/debian/libcrypt1@1:4.4.38-1?arch=amd64&distro=debian-13&upstream=libxcrypt",
        ),
        (
            purl.debian("libstdc++6", "14.2.0-19~x", "arm64", "debian:13"),
            "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19~x?arch=arm64&distro=debian-13",
        ),
        (purl.purl("apk", "alpine", "musl", "1.2.5-r0"), "pkg:apk/alpine/musl@1.2.5-r0"),
    ],
)
def test_package_urls(made: str, expected: str) -> None:
    assert made == expected


def test_no_key_of_the_registry_or_index_is_told() -> None:
    """What decides nothing is not told, so that the same image has the same provenance wherever it goes."""
    one = load('[tool.dpbuild]\ntags = ["registry.example/a:1"]\nevidence = false\ncheck = {ignore = ["ALL"]}\n')
    other = load('[tool.dpbuild]\ntags = ["other.example/b:2"]\ndebian = {mirror = "http://debian.example"}\n')
    assert parameters(one) == parameters(other)
