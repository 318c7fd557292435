"""Registries and indexes that are reached as in a company: a CA of its own, and a proxy that wants a login."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from factories.image import make_image
from factories.python_image import debian
from factories.wheel import make_wheel
from fakes.index import Index, serve_index
from machinery import Ran, serving
from secrecy import forms, leaks
from servers.proxy import Proxy, forward_proxy
from servers.tls import make_ca, make_certificate

pytestmark = [pytest.mark.registry]

# Names that only the proxy knows.
REGISTRY, INDEX = "registry.corp.example:5000", "index.corp.example"
PROXY_LOGIN = "worker:pr0xy-passw0rd"


@dataclass(frozen=True)
class Corp:
    """A registry behind TLS, an index in plain http, and certificates."""

    registry: str
    plain: str
    index: Index
    ca: Path
    other: Path


@pytest.fixture(scope="module")
def corp(need: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corp]:
    need("registry")
    folder = tmp_path_factory.mktemp("corp")
    ca, other = make_ca(folder, "ca"), make_ca(folder, "other")
    certificate, key = make_certificate(ca, "server", "127.0.0.1", REGISTRY.partition(":")[0])
    for name in ("tls", "plain"):
        (folder / name).mkdir()
    tls = f"  tls:\n    certificate: {certificate}\n    key: {key}\n"
    with serving(folder / "tls", tls) as registry, serving(folder / "plain") as plain, serve_index() as index:
        index.add(make_wheel("demo", "1.0", files={"demo.py": "x = 1\n" * 200}))
        yield Corp(registry, plain, index, ca, other)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    image = make_image(tmp_path / "base", *debian(), *({f"opt/{number}": str(number)} for number in range(8)))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "main.py").write_text("print('hello')\n")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\ndependencies = ["demo"]\n'
        f'[tool.dpbuild]\nbase = "oci:{image.path}"\nbytecode = false\nplatforms = ["linux/amd64"]\n'
    )
    return folder


@pytest.fixture
def build(dpbuild: Callable[..., Ran], project: Path, tmp_path: Path, corp: Corp) -> Callable[..., Ran]:
    """Build and push with this environment and nothing of the host's."""

    def run(*words: object, check: bool = True, **env: str) -> Ran:
        clean = dict.fromkeys(
            ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy",
             "all_proxy", "SSL_CERT_DIR", "SSL_CERT_FILE", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"),
            "",
        )  # fmt: skip
        places = {"DPBUILD_CACHE_DIR": str(tmp_path / "store"), "HOME": str(tmp_path / "home")}
        index = {"UV_DEFAULT_INDEX": corp.index.simple}
        return dpbuild("build", project, "--push", *words, env={**clean, **places, **index, **env}, check=check)

    return run


def test_an_own_ca(build: Callable[..., Ran], corp: Corp) -> None:
    done = build("-t", f"{corp.registry}/tls/app:1", SSL_CERT_FILE=str(corp.ca))
    assert done.out.startswith(f"{corp.registry}/tls/app@sha256:")
    # What was pushed is a base like any other.
    again = build("-t", f"{corp.registry}/tls/app:2", SSL_CERT_FILE=str(corp.ca))
    assert again.out == done.out


@pytest.mark.parametrize("bundle", ["none", "other", "gone", "no certificate"])
def test_a_ca_that_is_not_trusted(build: Callable[..., Ran], corp: Corp, tmp_path: Path, bundle: str) -> None:
    (tmp_path / "empty.pem").write_text("no certificate\n")
    files = {"none": "", "other": str(corp.other), "gone": "/nowhere/ca.pem", "no certificate": f"{tmp_path}/empty.pem"}
    done = build("-t", f"{corp.registry}/tls/app:1", check=False, SSL_CERT_FILE=files[bundle])
    assert (done.status, done.out) == (90, "")
    assert len(re.findall(r"^error: ", done.err, re.MULTILINE)) == 1
    assert re.search(r"^ hint: .*SSL_CERT_FILE", done.err, re.MULTILINE), done.err
    if bundle in ("none", "other"):
        assert f"no trusted connection to {corp.registry}: certificate not accepted" in done.err


# proxies


@pytest.fixture
def proxy(corp: Corp) -> Iterator[Proxy]:
    hosts = {
        REGISTRY: corp.registry,
        "plain.corp.example:5000": corp.plain,
        f"{INDEX}:80": corp.index.url.removeprefix("http://"),
    }
    kept, corp.index.url = corp.index.url, f"http://{INDEX}"
    with forward_proxy(hosts, PROXY_LOGIN) as served:
        yield served
    corp.index.url = kept


def test_registry_and_index_behind_a_proxy(
    build: Callable[..., Ran], corp: Corp, proxy: Proxy, project: Path, tmp_path: Path
) -> None:
    """The registry by CONNECT, the index by plain requests; nothing is asked past the proxy, which alone knows them."""
    done = build(
        "-t", f"{REGISTRY}/proxy/app:1", "-v",
        SSL_CERT_FILE=str(corp.ca), HTTPS_PROXY=proxy.url, HTTP_PROXY=proxy.url,
    )  # fmt: skip
    assert done.out.startswith(f"{REGISTRY}/proxy/app@sha256:")
    assert {row for row in proxy.seen if not row.endswith(f"{INDEX}:80")} == {f"CONNECT {REGISTRY}"}
    assert f"GET {INDEX}:80" in proxy.seen
    assert proxy.refused == 0
    assert leaks(forms(*PROXY_LOGIN.split(":")), done, project, tmp_path / "store") == []
    lock = (project / "pylock.dpbuild.toml").read_text()
    assert f"http://{INDEX}/files/demo-1.0-py3-none-any.whl" in lock


def test_a_plain_registry_behind_a_proxy(build: Callable[..., Ran], corp: Corp, proxy: Proxy) -> None:
    done = build("-t", "plain.corp.example:5000/proxy/app:1", "--plain-http", http_proxy=proxy.url)
    assert done.out.startswith("plain.corp.example:5000/proxy/app@sha256:")
    assert {row.split()[0] for row in proxy.seen} == {"GET", "HEAD", "POST", "PUT"}


@pytest.mark.parametrize("login", ["", "worker:wrong-passw0rd@"], ids=["no login", "another login"])
def test_a_proxy_that_wants_another_login(
    build: Callable[..., Ran], corp: Corp, proxy: Proxy, login: str, project: Path
) -> None:
    url = f"http://{login}{proxy.address}"
    done = build("-t", f"{REGISTRY}/proxy/app:1", "-v", check=False, SSL_CERT_FILE=str(corp.ca),
                 HTTPS_PROXY=url, HTTP_PROXY=url)  # fmt: skip
    assert (done.status, done.out) in ((90, ""), (40, ""))
    assert len(re.findall(r"^error: ", done.err, re.MULTILINE)) == 1
    assert "407" in done.err
    assert re.search(r"^ hint: .*(PROXY|proxy)", done.err, re.MULTILINE), done.err
    assert leaks(forms("worker", "wrong-passw0rd"), done, project) == []
    assert proxy.refused > 0


def test_a_proxy_that_is_not_there(build: Callable[..., Ran], corp: Corp, project: Path) -> None:
    (project / "pyproject.toml").write_text(
        (project / "pyproject.toml").read_text().replace('dependencies = ["demo"]', "dependencies = []")
    )
    done = build("-t", f"{REGISTRY}/a:1", "-v", check=False, HTTPS_PROXY=f"http://{PROXY_LOGIN}@127.0.0.1:9")
    assert (done.status, done.out) == (90, "")
    assert f"cannot reach {REGISTRY} through the proxy" in done.err
    assert re.search(r"^ hint: .*HTTPS_PROXY", done.err, re.MULTILINE)
    assert leaks(forms(*PROXY_LOGIN.split(":")), done, project) == []


@pytest.mark.parametrize("rule", ["localhost,.corp.example", "corp.example", REGISTRY, "*"])
def test_no_proxy(build: Callable[..., Ran], corp: Corp, proxy: Proxy, project: Path, rule: str) -> None:
    """Past the proxy nobody knows the name."""
    (project / "pyproject.toml").write_text(
        (project / "pyproject.toml").read_text().replace('dependencies = ["demo"]', "dependencies = []")
    )
    done = build("-t", f"{REGISTRY}/a:1", check=False, HTTPS_PROXY=proxy.url, NO_PROXY=rule)
    assert (done.status, done.out) == (90, "")
    assert "its name has no address" in done.err
    assert proxy.seen == []


@pytest.mark.skopeo
def test_what_the_proxy_brought_is_what_was_built(build: Callable[..., Ran], corp: Corp, proxy: Proxy) -> None:
    env = {"SSL_CERT_FILE": str(corp.ca), "HTTPS_PROXY": proxy.url, "HTTP_PROXY": proxy.url}
    line = build("-t", f"{REGISTRY}/proxy/read:1", **env).out.strip()
    said = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{corp.registry}/proxy/read:1"],
        capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(said.stdout)["Digest"] == line.rpartition("@")[2]
