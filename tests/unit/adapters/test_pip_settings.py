"""Where pip in a builder finds packages."""

from pathlib import Path

import pytest

from dpbuild.adapters import indexes, pip_settings
from dpbuild.adapters.logins import Logins
from dpbuild.adapters.pip_settings import HostIndexes, Places, host_indexes, settings
from dpbuild.errors import LockError

MAIN, MORE = "https://main.example.org/simple", "https://more.example.org/simple"


def of_the_host(tmp_path: Path, environ: dict[str, str], project: str = "", netrc: str = "") -> HostIndexes:
    (tmp_path / "pyproject.toml").write_text(project)
    if netrc:
        (tmp_path / ".netrc").write_text(netrc)
    found = indexes.configured(environ, home=str(tmp_path), prefix=str(tmp_path), directory=str(tmp_path))
    return host_indexes(found, Logins(found.logins, found.environment).find)


def test_variables_of_uv(tmp_path: Path) -> None:
    environ = {
        "UV_DEFAULT_INDEX": f"own={MAIN}",
        "UV_INDEX": f"{MORE} second=https://second.example.org/simple",
        "UV_FIND_LINKS": "https://links.example.org/a,https://links.example.org/b",
        "UV_INSECURE_HOST": "a.example.org",
        "UV_NO_INDEX": "0",
    }
    assert dict(of_the_host(tmp_path, environ).index) == {
        "PIP_INDEX_URL": MAIN,
        "PIP_EXTRA_INDEX_URL": f"{MORE} https://second.example.org/simple",
        "PIP_FIND_LINKS": "https://links.example.org/a https://links.example.org/b",
        "PIP_TRUSTED_HOST": "a.example.org",
    }


def test_settings_of_the_project_and_their_logins(tmp_path: Path) -> None:
    project = (
        f'[tool.uv]\nno-index = true\n[[tool.uv.index]]\nname = "own"\nurl = "{MAIN}"\ndefault = true\n'
        f'[[tool.uv.index]]\nurl = "{MORE}"\n[[tool.uv.index]]\nname = "one"\nurl = "https://x.example.org"\nexplicit = true\n'
        '[tool.uv.sources]\ndemo = { index = "one" }\nother = { workspace = true }\n'
    )
    environ = {"UV_INDEX_OWN_USERNAME": "ann", "UV_INDEX_OWN_PASSWORD": "a/b@c"}
    found = of_the_host(tmp_path, environ, project)
    assert dict(found.index) == {
        "PIP_INDEX_URL": "https://ann:a%2Fb%40c@main.example.org/simple",
        "PIP_EXTRA_INDEX_URL": MORE,
        "PIP_NO_INDEX": "1",
    }
    assert found.sources == ("demo",)
    assert "a%2Fb" not in repr(found)


def test_pip_s_own_configuration_and_netrc(tmp_path: Path) -> None:
    found = of_the_host(tmp_path, {"PIP_INDEX_URL": MAIN}, netrc="machine main.example.org login ann password x\n")
    assert dict(found.index) == {"PIP_INDEX_URL": "https://ann:x@main.example.org/simple"}
    assert found.netrc == str(tmp_path / ".netrc")
    assert of_the_host(tmp_path / "..", {}) == HostIndexes()


HOST = (("PIP_INDEX_URL", MAIN),)


def test_a_builder_made_of_the_base_has_the_host_s(tmp_path: Path) -> None:
    """What the base says of pip, which it may have for its own reasons, does not count."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/pip.conf").write_text(f"[global]\nindex-url = {MORE}\n")
    found = settings(str(tmp_path), "/usr/bin/python3", None, (), lambda: HOST)
    assert (dict(found.env), found.own) == ({"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": MAIN}, False)


@pytest.mark.parametrize(
    ("path", "image", "extra"),
    [
        ("etc/pip.conf", {}, {}),
        ("usr/pip.conf", {}, {}),
        ("srv/own.conf", {"PIP_CONFIG_FILE": "/srv/own.conf"}, {}),
        ("", {"PIP_INDEX_URL": MORE}, {}),
        ("", {"PIP_NO_INDEX": "1"}, {}),
        ("", {}, {"PIP_EXTRA_INDEX_URL": MORE}),
    ],
)
def test_an_image_that_says_where(tmp_path: Path, path: str, image: dict[str, str], extra: dict[str, str]) -> None:
    if path:
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(f"[install]\nindex-url = {MORE}\n")
    rows = (*image.items(), ("PATH", "/opt/bin"), ("https_proxy", "http://proxy.example.org"))

    def host() -> tuple[tuple[str, str], ...]:
        raise AssertionError("the host's are not looked at")

    found = settings(str(tmp_path), "/usr/bin/python3.13", rows, tuple(extra.items()), host)
    assert found.own
    assert dict(found.env) == {**image, **extra, "https_proxy": "http://proxy.example.org"}


def test_an_image_that_does_not_say_has_the_host_s_and_its_own_besides(tmp_path: Path) -> None:
    found = settings(str(tmp_path), "/usr/bin/python3", (("PIP_TIMEOUT", "5"),), (), lambda: HOST)
    assert (dict(found.env), found.own) == ({"PIP_INDEX_URL": MAIN, "PIP_TIMEOUT": "5"}, False)


def test_authorities_of_the_image(tmp_path: Path) -> None:
    (tmp_path / "etc/ssl/certs").mkdir(parents=True)
    (tmp_path / "etc/ssl/certs/ca-certificates.crt").write_text("the usual place")
    (tmp_path / "ca.pem").write_text("another")
    own = ("PIP_INDEX_URL", MORE)

    def of(*rows: tuple[str, str]) -> bytes | None:
        return settings(str(tmp_path), "/usr/bin/python3", (own, *rows), (), lambda: HOST).certificates

    assert of() == b"the usual place"
    assert of(("SSL_CERT_FILE", "/ca.pem")) == b"another"
    assert of(("SSL_CERT_FILE", "/nowhere.pem")) == b"the usual place"
    assert of(("PIP_CERT", "/ca.pem")) is None
    assert of(("REQUESTS_CA_BUNDLE", "/ca.pem")) is None


class TestPlaces:
    """Folders of this machine in the builder."""

    def test_there_and_back(self, tmp_path: Path) -> None:
        project, other = tmp_path / "project", tmp_path / "a b"
        (project / "wheels").mkdir(parents=True)
        other.mkdir()
        places = Places(str(project))
        assert places.inside(MAIN) == MAIN
        first, second = places.inside("wheels"), places.inside(other.as_uri())
        assert places.inside(str(project / "wheels")) == first
        assert [(row.source, f"file://{row.target}", row.writable) for row in places.mounts()] == [
            (str(project / "wheels"), first, False),
            (str(other), second, False),
        ]
        assert places.file("x.whl", f"{first}/x%2B1.whl", "0" * 64).path == "wheels/x+1.whl"
        assert places.file("x.whl", f"{second}/x.whl", "0" * 64).path == str(other / "x.whl")

    def test_an_address_loses_its_user(self) -> None:
        found = Places("/").file("x.whl", "https://ann:secret@files.example.org/x.whl#sha256=1", "0" * 64)
        assert (found.url, found.path) == ("https://files.example.org/x.whl", "")
        assert Places("/").file("", "file:///srv/index/x.whl", "").url == "file:///srv/index/x.whl"

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(LockError, match="a folder that is not there") as caught:
            Places(str(tmp_path)).inside("wheels")
        assert caught.value.where == str(tmp_path / "wheels")


def test_what_is_said_names_no_address_and_no_password() -> None:
    said = "at https://ann:s3cret@main.example.org/simple, s3cret; see http://other.example.org/x."
    found = pip_settings.hidden(said, ["https://ann:s3cret@main.example.org/simple"])
    assert found == "at the index, …; see the index."
