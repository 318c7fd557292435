"""A host's mirrors are found where they are Debian's, and nowhere else."""

import pytest

from dpbuild.debian.sources import Mirrors, find, snapshot

DEB822 = """\
Types: deb deb-src
# a comment in the stanza
URIs: http://mirror.example.org/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example.org/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def test_both_formats():
    expected = Mirrors(main="http://mirror.example.org/debian", security="http://mirror.example.org/debian-security")
    assert find([("debian.sources", DEB822)]) == expected
    lines = """\
# deb http://old.example.org/debian bookworm main
deb-src http://source.example.org/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example.org/debian/ trixie main contrib # x
deb http://mirror.example.org/debian-security trixie-security main
"""
    assert find([("sources.list", lines)]) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.list", "deb https://third.example.org/linux/debian bookworm stable\n"),
        ("a.list", "deb https://third.example.org/apt bookworm main\n"),
        ("a.list", "deb https://third.example.org/apt bookworm-pgdg main\n"),
        ("a.list", "deb [signed-by=/usr/share/keyrings/third.gpg] https://third.example.org/debian bookworm main\n"),
        ("a.list", "deb http://ubuntu.example.org/debian jammy main\n"),
        ("a.list", "deb file:/srv/debian bookworm main\n"),
        ("a.list", "deb [broken http://mirror.example.org/debian bookworm main\n"),
        ("a.list", "deb [enabled=no] http://mirror.example.org/debian bookworm main\n"),
        ("a.sources", DEB822.replace("Types: deb", "Enabled: no\nTypes: deb")),
        ("a.sources", DEB822.replace("debian-archive-keyring", "third")),
        ("a.sources", "no fields at all\n"),
    ],
)
def test_what_is_not_debians_does_not_count(name: str, text: str):
    assert find([(name, text)]) == Mirrors()


def test_what_is_signed_by_debians_keys_comes_first():
    loose = "deb http://one.example.org/debian bookworm main\n"
    assert find([("sources.list", loose), ("debian.sources", DEB822)]).main == "http://mirror.example.org/debian"
    assert find([("sources.list", loose)]) == Mirrors(main="http://one.example.org/debian")


def test_the_roots_of_a_snapshot() -> None:
    assert snapshot("https://example.org/{archive}/at/{timestamp}/", "20260901T000000Z") == Mirrors(
        main="https://example.org/debian/at/20260901T000000Z",
        security="https://example.org/debian-security/at/20260901T000000Z",
    )
    for template in ("https://example.org/{archive}", "https://example.org/{timestamp}", ""):
        with pytest.raises(ValueError, match="lacks"):
            snapshot(template, "20260901T000000Z")
