"""The options of ``dpbuild run``."""

import pytest

from dpbuild.cli.run import _own, _published, _variable, command
from dpbuild.errors import UsageError
from dpbuild.ports.runner import Published


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8000", Published(port=8000, host=8000)),
        ("8000/tcp", Published(port=8000, host=8000)),
        ("80:8000", Published(port=8000, host=80)),
        ("0.0.0.0:80:8000", Published(port=8000, host=80, address="0.0.0.0")),
        ("[::1]:80:8000", Published(port=8000, host=80, address="::1")),
    ],
)
def test_ports(text: str, expected: Published) -> None:
    assert _published(text) == expected


@pytest.mark.parametrize("text", ["", "http", "0", "65536", ":8000x", "a:80", "80:", "٣", "-1", "53/udp"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(UsageError, match="-p takes PORT, HOST:PORT or ADDRESS:HOST:PORT"):
        _published(text)


@pytest.mark.parametrize("text", ["localhost:80:8000", "80:80:80:80", "127.0.0.1:1:80:8000"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="-p takes an IP address before the ports, not"):
        _published(text)


def test_variables() -> None:
    assert _variable("A=") == ("A", "")
    assert _variable("A=b=c d") == ("A", "b=c d")
    for text in ("A", "=b", ""):
        with pytest.raises(UsageError, match="-e takes NAME=VALUE"):
            _variable(text)


@pytest.mark.parametrize(
    ("words", "own"),
    [
        (("--import-all",), "--import-all"),
        (("serve", "--platform=linux/arm64"), "--platform"),
        (("-p", "8000"), "-p"),
        (("--version", "-v", "--quiet", "--help", "platform"), ""),
        ((), ""),
    ],
)
def test_options_behind_the_image_that_are_also_ours(words: tuple[str, ...], own: str) -> None:
    assert _own(command, words) == own
