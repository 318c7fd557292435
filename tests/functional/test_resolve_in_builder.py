"""``resolve = true``: packages come from indexes that only the builder reaches; lock and image are the same as without."""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from bench import Bench
from derived import Derive
from factories.image import File, Files
from factories.sdist import make_sdist
from factories.wheel import make_wheel
from secrecy import forms, leaks

pytestmark = [pytest.mark.network, pytest.mark.bubblewrap]

LOCK, BUILD_LOCK = "pylock.dpbuild.toml", "pylock.dpbuild-build.toml"
NOWHERE = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
# Packs one module, and asks its caller for nothing but what the index has.
BACKEND = """\
import base64, hashlib, os, tomllib, zipfile

def get_requires_for_build_wheel(settings=None):
    import helper
    return ["more-helper"]

def row(name, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return name + ",sha256=" + digest + "," + str(len(data)) + "\\n"

def build_wheel(folder, settings=None, metadata=None):
    import helper
    with open("pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    name, version = project["name"], project["version"]
    info = name + "-" + version + ".dist-info/"
    requires = "".join("Requires-Dist: " + each + "\\n" for each in project.get("needs", []))
    files = {
        name + ".py": open(name + ".py").read(),
        info + "METADATA": "Metadata-Version: 2.1\\nName: " + name + "\\nVersion: " + version + "\\n" + requires,
        info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files[info + "RECORD"] = "".join(row(path, text.encode()) for path, text in files.items()) + info + "RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(folder, name + "-" + version + "-py3-none-any.whl"), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name + "-" + version + "-py3-none-any.whl"
"""
SYSTEM = '[build-system]\nrequires = ["packer"]\nbuild-backend = "packer"\n'
OFFERED = dict(
    [
        make_wheel("demo", "1.0", requires=("deep>=1", 'old; python_version < "3"')),
        make_wheel("deep", "1.0"),
        make_wheel("deep", "1.1", "cp313-cp313-win_amd64"),
        make_wheel("packer", "1.0", files={"packer.py": BACKEND}, requires=("helper",)),
        make_wheel("helper", "1.0"),
        make_wheel("more-helper", "1.0"),
        make_wheel("from-sdist", "1.0"),
        make_sdist(
            "source",
            "1.0",
            {
                "pyproject.toml": f'{SYSTEM}[project]\nname = "source"\nversion = "1.0"\nneeds = ["from-sdist"]\n',
                "source.py": "",
            },
            dynamic=True,
        ),
    ]
)


def pages(files: Mapping[str, bytes], *, hashes: bool = True) -> Files:
    """A simple repository (PEP 503) as files of an image, and pip's configuration that names it."""
    out: Files = {"etc/pip.conf": File(b"[global]\nindex-url = file:///srv/index\n")}
    links: dict[str, list[str]] = {}
    for name, data in files.items():
        project = re.sub(r"[-_.]+", "-", re.split(r"-\d", name)[0]).lower()
        fragment = f"#sha256={hashlib.sha256(data).hexdigest()}" if hashes else ""
        links.setdefault(project, []).append(f'<a href="{name}{fragment}">{name}</a><br>')
        out[f"srv/index/{project}/{name}"] = File(data)
    for project, rows in links.items():
        text = "<!DOCTYPE html><html><body>" + "".join(rows) + "</body></html>"
        out[f"srv/index/{project}/index.html"] = File(text.encode())
    return out


def configure(bench: Bench, *dependencies: str, builder: str = "", more: str = "", system: str = "") -> None:
    rows = ", ".join(repr(row) for row in dependencies)
    (bench.project / "pyproject.toml").write_text(
        f'{system}[project]\nname = "app"\nversion = "1"\ndependencies = [{rows}]\n[tool.dpbuild]\n'
        f'base = "compose:debian13:nonroot"\nplatforms = ["linux/amd64"]\nbytecode = false\n{more}'
        f'entrypoint = ["-c", "import demo"]\n[tool.dpbuild.builder]\n{builder}'
    )
    (bench.project / "app.py").write_text("")


@pytest.fixture
def bench(bench: Bench, shared_cache: Path) -> Bench:
    """One whose base is unpacked, and the tools compiled for it, once for all tests."""
    primed = shared_cache.with_name("dpbuild-base-store")
    (bench.cache / "trees").mkdir(mode=0o700)
    for name in ("pip", "rootfs"):
        (primed / "trees" / name).mkdir(parents=True, exist_ok=True)
        (bench.cache / "trees" / name).symlink_to(primed / "trees" / name)
    return bench


def in_it(text: str) -> list[str]:
    return re.findall(r'^name = "([^"]+)"', text, re.MULTILINE)


@pytest.mark.slow
def test_an_index_that_is_a_folder_of_the_builder(bench: Bench, derive: Derive) -> None:
    """Everything is there and nowhere else: dependencies, an sdist, what it and the app are built with."""
    image = derive("debian13", pages(OFFERED))
    configure(bench, "demo", "source", builder=f'resolve = true\nimage = "{image}"\n', system=SYSTEM)
    done = bench.build("--builder", "bubblewrap", env=NOWHERE, check=True)
    text = (bench.project / LOCK).read_text()
    assert in_it(text) == ["deep", "demo", "from-sdist", "source"]
    assert 'url = "file:///srv/index/deep/deep-1.0-py3-none-any.whl"' in text
    build = (bench.project / BUILD_LOCK).read_text()
    assert {"packer", "helper", "more-helper"} <= {*in_it(build)}
    assert {"app", "sdist-source-1-0"} <= {*in_it(build)}
    # From the locks alone, with an empty store.
    again = bench.build("--locked", "--builder", "bubblewrap", "--cache-dir", bench.tmp / "empty", env=NOWHERE)
    assert again.status == 0, again.err
    assert again.out == done.out
    # The same packages from an index that this machine reaches: the same image, and the same lock but for addresses.
    bench.index.files |= OFFERED
    (bench.project / LOCK).unlink()
    (bench.project / BUILD_LOCK).unlink()
    configure(bench, "demo", "source", builder=f'image = "{image}"\n', system=SYSTEM)
    assert bench.build("--builder", "bubblewrap", check=True).out == done.out
    addresses = re.compile(r'url = "[^"]*/')
    assert addresses.sub("", (bench.project / LOCK).read_text()) == addresses.sub("", text)
    assert addresses.sub("", (bench.project / BUILD_LOCK).read_text()) == addresses.sub("", build)


@pytest.mark.slow
@pytest.mark.docker
def test_in_an_engine(bench: Bench, derive: Derive) -> None:
    """A container has files of its own. This index gives no hashes, so that every file is read for its own."""
    image = derive("debian13", pages(OFFERED, hashes=False))
    configure(bench, "demo", builder=f'resolve = true\nimage = "{image}"\n', more='app = "none"\n')
    assert bench.build("--builder", "docker", env=NOWHERE).status == 0
    text = (bench.project / LOCK).read_text()
    assert in_it(text) == ["deep", "demo"]
    assert hashlib.sha256(OFFERED["deep-1.0-py3-none-any.whl"]).hexdigest() in text


def test_the_host_s_index(bench: Bench) -> None:
    """Without an image: in the base itself, from the index that this machine is told of."""
    bench.index.files |= OFFERED
    configure(bench, "demo", builder="resolve = true\n", more='app = "none"\n')
    done = bench.build(check=True)
    text = (bench.project / LOCK).read_text()
    assert f'url = "{bench.index.file_url("demo-1.0-py3-none-any.whl")}"' in text
    (bench.project / LOCK).unlink()
    configure(bench, "demo", more='app = "none"\n')
    assert bench.build(check=True).out == done.out
    assert (bench.project / LOCK).read_text() == text


def test_versions_stay_until_they_are_upgraded(bench: Bench) -> None:
    bench.index.add(make_wheel("deep", "1.0"))
    configure(bench, "demo", "deep", builder="resolve = true\n", more='app = "none"\n')
    bench.lock()
    bench.index.add(make_wheel("deep", "2.0"))
    configure(bench, "demo", "deep>=1", builder="resolve = true\n", more='app = "none"\n')
    assert bench.lock().out == ""
    assert bench.lock("--upgrade-package", "deep").out == "deep 1.0 -> 2.0\n"


def test_wheels_in_folders_of_the_project(bench: Bench) -> None:
    (bench.project / "wheels").mkdir()
    name, data = make_wheel("local", "3.0", requires=("demo",))
    (bench.project / "wheels" / name).write_bytes(data)
    configure(bench, "local", builder="resolve = true\n", more='app = "none"\nfind-links = ["wheels"]\n')
    bench.build(check=True)
    text = (bench.project / LOCK).read_text()
    assert f'path = "wheels/{name}"' in text
    (bench.project / LOCK).unlink()
    configure(bench, "local", more='app = "none"\nfind-links = ["wheels"]\n')
    bench.lock()
    assert (bench.project / LOCK).read_text() == text


USER, PASSWORD = "ann", "hunter2/%:@+"
# netrc files have no quoting.
PLAIN = "hunter2plain"


def with_login(url: str) -> str:
    return url.replace("://", "://ann:hunter2%2F%25%3A%40%2B@")


def in_a_url(bench: Bench) -> dict[str, str]:
    return {"UV_DEFAULT_INDEX": with_login(bench.index.simple)}


def in_netrc(bench: Bench) -> dict[str, str]:
    bench.index.login = (USER, PLAIN)
    netrc = bench.tmp / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {PLAIN}\n")
    netrc.chmod(0o600)
    return {"NETRC": str(netrc)}


def of_the_builder_alone(bench: Bench) -> dict[str, str]:
    path = bench.project / "pyproject.toml"
    path.write_text(path.read_text() + f'env = {{ PIP_INDEX_URL = "{with_login(bench.index.simple)}" }}\n')
    return NOWHERE


@pytest.mark.parametrize("way", [in_a_url, in_netrc, of_the_builder_alone], ids=lambda row: row.__name__)
def test_logins(bench: Bench, way: Callable[[Bench], dict[str, str]]) -> None:
    bench.index.login = (USER, PASSWORD)
    configure(bench, "demo", builder="resolve = true\n", more='app = "none"\n')
    env = way(bench)
    secret = forms(*bench.index.login)
    metadata = bench.tmp / "metadata.json"
    done = bench.build("-v", "--metadata-file", metadata, env=env)
    assert done.status == 0, done.err
    assert "@" not in (bench.project / LOCK).read_text()
    assert leaks(secret, done, bench.project / LOCK, bench.output, bench.cache, metadata) == []
    bench.index.login = (USER, "another")
    wrong = bench.run("lock", bench.project, "--upgrade", env=env)
    assert wrong.status == 40
    assert "the package index refuses the builder's credentials" in wrong.err
    assert leaks(secret, wrong) == []


class TestErrors:
    """One clear sentence, and nothing left."""

    @pytest.fixture
    def resolving(self, bench: Bench) -> Bench:
        configure(bench, "demo", builder="resolve = true\n", more='app = "none"\n')
        return bench

    def test_other_bytes_than_were_locked(self, resolving: Bench) -> None:
        resolving.lock()
        resolving.index.corrupt["demo-1.0-py3-none-any.whl"] = b"not what it was"
        said = resolving.fails(51, "demo-1.0-py3-none-any.whl is not the file that was locked", lock=True)
        assert "hint: the index serves other bytes than when it was locked" in said
        (resolving.project / LOCK).unlink()
        # Without metadata of their own, pip has to look into the files.
        resolving.index.json = False
        resolving.fails(51, "the index serves other bytes than it says itself")

    def test_a_file_that_is_gone(self, resolving: Bench) -> None:
        resolving.lock()
        resolving.index.files.clear()
        resolving.fails(50, "cannot download demo-1.0.*: the index answered 404", lock=True)

    def test_an_index_that_is_not_reached(self, resolving: Bench) -> None:
        env = {**NOWHERE, "UV_DEFAULT_INDEX": with_login(NOWHERE["UV_DEFAULT_INDEX"])}
        configure(resolving, "demo", builder='resolve = true\nenv = { PIP_RETRIES = "0" }\n', more='app = "none"\n')
        said = resolving.fails(40, "the package index cannot be reached from the builder: .*refused", env=env)
        assert "127.0.0.1" not in said
        assert "hunter2" not in said

    def test_no_network_is_allowed(self, resolving: Bench) -> None:
        resolving.fails(40, "resolving needs the package index, and this run is offline", "--offline")
        resolving.lock()
        resolving.fails(50, "demo-1.0.* is not in the store, and dpbuild is offline", "--offline", lock=True)

    def test_no_builder_is_allowed(self, resolving: Bench) -> None:
        resolving.fails(
            100, "pip-tools cannot be run: there is nothing that could run a builder here", "--builder", "none"
        )

    def test_no_solution(self, resolving: Bench) -> None:
        resolving.index.add(make_wheel("pure", "1.0", requires=("demo>1",)))
        configure(resolving, "demo<2", "pure", builder="resolve = true\n", more='app = "none"\n')
        said = resolving.fails(41, "the requirements have no solution")
        assert "demo>1 (wanted by pure 1.0)" in said

    def test_wheels_for_others(self, resolving: Bench) -> None:
        resolving.index.add(make_wheel("windows", "1.0", "cp313-cp313-win_amd64"))
        configure(resolving, "windows", builder="resolve = true\n", more='app = "none"\n')
        resolving.fails(
            52, r"windows 1\.0 has no wheel for cp313 manylinux_2_41_x86_64 \(only for cp313-cp313-win_amd64\)"
        )

    def test_an_index_for_one_project(self, resolving: Bench) -> None:
        path = resolving.project / "pyproject.toml"
        path.write_text(path.read_text() + '[tool.uv.sources]\ndemo = { index = "own" }\n')
        resolving.fails(41, "says which index demo comes from, and pip has no such setting")

    def test_a_builder_whose_python_the_tools_do_not_run_with(
        self, resolving: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import importlib.metadata

        real = importlib.metadata.distribution("pip")
        monkeypatch.setattr(type(real), "metadata", {"Requires-Python": ">=4", "Version": real.version})
        resolving.fails(40, r"needs Python >=4, and there it is 3\.13")
