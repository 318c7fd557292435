"""Proxies, NO_PROXY and what counts as this machine."""

from pathlib import Path

import pytest

from dpbuild.adapters.registry.hosts import (
    Proxies,
    bypassed,
    certificate_folder,
    is_loopback,
    registry_host,
    split_host,
)


@pytest.mark.parametrize(
    ("rules", "host", "port", "expected"),
    [
        ("", "a.example.org", 443, False),
        ("*", "a.example.org", 443, True),
        ("example.org", "example.org", 443, True),
        ("example.org", "a.example.org", 443, True),
        ("example.org", "notexample.org", 443, False),
        (".example.org", "a.example.org", 443, True),
        ("*.example.org", "a.example.org", 443, True),
        (".example.org", "example.org", 443, False),
        ("*.example.org", "example.org", 443, False),
        ("EXAMPLE.org", "A.Example.ORG.", 443, True),
        ("other.org, example.org", "example.org", 443, True),
        ("example.org:8443", "example.org", 443, False),
        ("example.org:443", "example.org", 443, True),
        ("192.0.2.7", "192.0.2.7", 443, True),
        ("192.0.2.7:80", "192.0.2.7", 443, False),
        ("192.0.2.0/24", "192.0.2.99", 443, True),
        ("192.0.2.0/24", "192.0.3.1", 443, False),
        ("192.0.2.0/24", "example.org", 443, False),
        ("2001:db8::1", "[2001:db8::1]", 443, True),
        ("[2001:db8::1]:443", "2001:db8::1", 443, True),
        ("2001:db8::/32", "2001:db8::9", 443, True),
        ("not/a/block, ,", "example.org", 443, False),
        ("0.2.7", "192.0.2.7", 443, False),
    ],
)
def test_no_proxy(rules: str, host: str, port: int, expected: bool) -> None:
    assert bypassed(rules, host, port) is expected


def test_the_proxy_of_the_scheme_is_taken() -> None:
    proxies = Proxies(http="http://one.example.org:3128", https="two.example.org:3128", bypass="here.example.org")
    assert proxies.select("http", "a.example.org", 80) == "http://one.example.org:3128"
    assert proxies.select("https", "a.example.org", 443) == "http://two.example.org:3128"
    assert proxies.select("https", "here.example.org", 443) == ""
    assert proxies.select("http", "127.0.0.1", 5000) == ""
    assert Proxies().select("https", "a.example.org", 443) == ""


def test_a_proxy_with_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(Proxies(https="http://user:hunter2@proxy.example.org"))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.255.0.9", "::1", "[::1]"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example.org", "128.0.0.1", "::2", "10.0.0.1", "", "127.0.0.1.nip.example"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_hosts() -> None:
    assert registry_host("docker.io") == "registry-1.docker.io"
    assert registry_host("r.example.org:5000") == "r.example.org:5000"
    assert [split_host(row) for row in ("[::1]:5000", "[::1]", "a.org:1", "a.org")] == ["::1", "::1", "a.org", "a.org"]


def test_where_certificates_of_a_host_are(tmp_path: Path) -> None:
    folder = tmp_path / ".config/containers/certs.d/r.example.org:5000"
    folder.mkdir(parents=True)
    assert certificate_folder("r.example.org:5000", {}, str(tmp_path)) == str(folder)
    assert certificate_folder("r.example.org", {}, str(tmp_path)) == ""
    elsewhere = {"XDG_CONFIG_HOME": str(tmp_path / "elsewhere")}
    assert certificate_folder("r.example.org:5000", elsewhere, str(tmp_path)) == ""
    for host in ("", ".", "..", "../certs.d/r.example.org:5000", "a/b"):
        assert certificate_folder(host, {}, str(tmp_path)) == ""
