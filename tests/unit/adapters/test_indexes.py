import pytest

from dpbuild.adapters import indexes
from dpbuild.adapters.logins import KnownLogins, Logins
from dpbuild.errors import ConfigError

MAIN, MORE = "https://pip.example.org/simple", "https://more.example.org/simple"


def test_pips_files_come_in_pips_order_and_the_environment_wins():
    texts = [
        f"[global]\nindex-url = {MAIN}\nextra_index_url = {MORE}\n",
        "[install]\nindex-url = https://user.example.org/simple\n",
    ]
    assert indexes.pip_settings(texts, {}) == {"index-url": "https://user.example.org/simple", "extra-index-url": MORE}
    assert (
        indexes.pip_settings(texts, {"PIP_INDEX_URL": "https://env.example.org/"})["index-url"]
        == "https://env.example.org/"
    )


def test_a_file_that_pip_could_not_read_is_passed_over():
    assert indexes.pip_settings(["index-url = nowhere", f"[global]\nindex-url={MAIN}\n"], {}) == {"index-url": MAIN}


def test_where_pips_files_are():
    found = indexes.pip_files({"PIP_CONFIG_FILE": "/own.conf"}, "/home/me", "/venv")
    assert found[0] == "/etc/xdg/pip/pip.conf"
    assert found[-3:] == ("/home/me/.config/pip/pip.conf", "/venv/pip.conf", "/own.conf")
    assert indexes.pip_files({"PIP_CONFIG_FILE": "/dev/null"}, "/home/me", "/venv") == ()


def test_pips_settings_reach_uv():
    pip = {"index-url": MAIN, "extra-index-url": MORE, "cert": "/ca.pem", "trusted-host": "a.example.org b.example.org"}
    found, notes = indexes.uv_environment({}, pip, {})
    assert found == {
        "UV_DEFAULT_INDEX": MAIN,
        "UV_INDEX": MORE,
        "SSL_CERT_FILE": "/ca.pem",
        "UV_INSECURE_HOST": "a.example.org b.example.org",
    }
    assert notes == ""


@pytest.mark.parametrize(
    ("environ", "uv"),
    [
        ({"UV_DEFAULT_INDEX": "https://uv.example.org"}, {}),
        ({"UV_INDEX": "https://uv.example.org"}, {}),
        ({}, {"index": [{"url": "https://uv.example.org"}]}),
        ({}, {"index-url": "https://uv.example.org"}),
    ],
)
def test_where_uv_has_an_index_pips_do_not_count(environ, uv):
    assert indexes.uv_environment(environ, {"index-url": MAIN, "extra-index-url": MORE}, uv) == ({}, "")


def test_folders_of_the_machine_are_left_out_with_a_note():
    found, note = indexes.uv_environment(
        {}, {"extra-index-url": f"file:///srv/simple {MORE}", "find-links": "/srv/wheels"}, {}
    )
    assert found == {"UV_INDEX": MORE}
    assert note.endswith(": file:///srv/simple, /srv/wheels")


def test_a_folder_as_the_main_index_counts():
    assert indexes.uv_environment({}, {"index-url": "file:///srv/simple"}, {})[0] == {
        "UV_DEFAULT_INDEX": "file:///srv/simple"
    }


def test_certificates_of_the_environment_win():
    assert indexes.uv_environment({"SSL_CERT_FILE": "/a.pem"}, {"cert": "/b.pem"}, {})[0] == {}


def test_settings_of_uv():
    found = indexes.uv_settings('[tool.uv]\nindex-url = "a"\n', 'index-url = "b"\nno-index = true\n', None, "broken =")
    assert found == {"index-url": "a", "no-index": True}


def test_logins_in_urls_by_name_and_by_netrc(tmp_path):
    (tmp_path / "netrc").write_text("machine rc.example.org login rc password secret\n")
    found = indexes.logins(
        {
            "UV_DEFAULT_INDEX": "https://me:p%40ss@main.example.org:8443/simple",
            "UV_INDEX": "my-index=https://named.example.org/simple https://open.example.org/simple",
            "UV_INDEX_MY_INDEX_USERNAME": "name",
            "UV_INDEX_MY_INDEX_PASSWORD": "word",
            "UV_INDEX_TABLE_PASSWORD": "token",
        },
        {"index": [{"name": "table", "url": "https://bot@table.example.org/simple"}]},
        str(tmp_path / "netrc"),
    )
    assert found.netrc == {"rc.example.org": ("rc", "secret")}
    assert found.urls["main.example.org:8443"] == "https://main.example.org:8443/simple"
    assert found.hosts == {
        "main.example.org:8443": ("me", "p@ss"),
        "named.example.org": ("name", "word"),
        "table.example.org": ("bot", "token"),
    }


def test_which_login_a_host_gets():
    known = KnownLogins(
        hosts={"a.example:8443": ("ann", "word"), "b.example": ("bob", ""), "c.example": ("carol", "")},
        netrc={"a.example": ("x", "y"), "b.example": ("bob", "rc"), "c.example": ("other", "rc"), "::1": ("six", "rc")},
    )
    found = Logins(known, {"PATH": ""}).find
    assert found("a.example:8443") == ("ann", "word")
    assert found("a.example") == found("a.example:80") == ("x", "y")
    assert found("b.example") == found("b.example:81") == ("bob", "rc")
    assert found("c.example") == ("carol", "")
    assert found("[::1]:80") == ("six", "rc")
    assert found("d.example") is None
    assert Logins(KnownLogins(netrc={"default": ("d", "rc")}), {}).find("d.example:9") == ("d", "rc")


def test_a_netrc_that_cannot_be_read_shows_no_secret(tmp_path):
    (tmp_path / "netrc").write_text("machine a login b passwort hunter2\n")
    with pytest.raises(ConfigError) as caught:
        indexes.logins({}, {}, str(tmp_path / "netrc"))
    assert "hunter2" not in str(caught.value)


def test_everything_together(tmp_path):
    (tmp_path / "home" / ".config" / "pip").mkdir(parents=True)
    (tmp_path / "home" / ".config" / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://u:p@pip.example.org/simple\n"
    )
    (tmp_path / "home" / ".netrc").write_text("machine rc.example.org login rc password secret\n")
    environ = {
        "PATH": "/bin",
        "UV_HTTP_TIMEOUT": "9",
        "AWS_SECRET_ACCESS_KEY": "x",
        "XDG_CONFIG_DIRS": "/nowhere",
        "PYTHONPATH": "/x",
    }
    found = indexes.configured(environ, home=str(tmp_path / "home"), prefix="/nowhere", directory=str(tmp_path))
    assert found.environment["UV_DEFAULT_INDEX"] == "https://u:p@pip.example.org/simple"
    assert found.environment["UV_HTTP_TIMEOUT"] == "9"
    assert not {"AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & set(found.environment)
    assert found.logins.netrc == {"rc.example.org": ("rc", "secret")}
    assert found.logins.hosts == {"pip.example.org": ("u", "p")}
    (tmp_path / "pyproject.toml").write_text('[[tool.uv.index]]\nurl = "https://uv.example.org/simple"\n')
    found = indexes.configured(environ, home=str(tmp_path / "home"), prefix="/nowhere", directory=str(tmp_path))
    assert "UV_DEFAULT_INDEX" not in found.environment


def test_uv_gets_the_proxies_that_dpbuild_itself_would_take(tmp_path):
    environ = {
        "HTTP_PROXY": "",
        "http_proxy": "http://low:1",
        "HTTPS_PROXY": "http://up:2",
        "https_proxy": "http://low:2",
    }
    given = indexes.configured(environ, home=str(tmp_path), prefix=str(tmp_path), directory=str(tmp_path)).environment
    assert {name: value for name, value in given.items() if "PROXY" in name.upper()} == {
        "HTTP_PROXY": "http://low:1",
        "http_proxy": "http://low:1",
        "HTTPS_PROXY": "http://low:2",
        "https_proxy": "http://low:2",
    }
