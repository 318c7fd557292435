"""What every resolver must do: the fake one, uv with an index on loopback, and pip-tools (with pip as ``test_pip`` has it)."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from factories.facts import make_target
from factories.sdist import make_sdist, native_files
from factories.wheel import make_wheel
from fakes.index import serve_index
from fakes.pip import FakePip
from fakes.resolver import FakeResolver

from dpbuild.adapters.uv import UvResolver, find_uv
from dpbuild.errors import NoCompatibleWheel, UnsupportedRequirement
from dpbuild.model.target import Target
from dpbuild.ports.resolver import Resolver, ResolveRequest
from dpbuild.pypa.metadata import Metadata
from dpbuild.stages.piptools import PipToolsResolver

WHEELS = (
    ("app", "1.0", "py3-none-any", ("native>=1", 'exceptiongroup>=1; python_version < "3.11"', 'tomli; python_version < "3.12"')),
    ("native", "1.0", "cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64", ()),
    ("native", "1.0", "cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64", ()),
    ("native", "1.0", "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", ()),
    ("native", "1.0", "cp313-cp313-musllinux_1_2_x86_64", ()),
    ("native", "1.1", "cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64", ()),
    ("windows", "1.0", "cp313-cp313-win_amd64", ()),
    ("pure", "1.0", "py3-none-any", ()),
    ("pure", "2.0", "py3-none-any", ()),
    ("tomli", "2.0", "py3-none-any", ()),
    ("exceptiongroup", "1.0", "py3-none-any", ()),
    ("arm-only", "1.0", "py3-none-any", ('pure<2; platform_machine == "aarch64"',)),
)  # fmt: skip


@pytest.fixture(scope="module")
def index():
    with serve_index() as served:
        for name, version, tag, requires in WHEELS:
            served.add(make_wheel(name, version, tag, requires=requires))
        served.add_sdist("source-only", "1.0")
        served.add_sdist("both", "2.0")
        served.add(make_wheel("both", "1.0"))
        yield served


def uv_resolver(index, folder: Path, python: str = sys.executable, **environment: str) -> UvResolver:
    paths = {"PATH": os.environ["PATH"], "HOME": str(folder), "UV_DEFAULT_INDEX": index.simple}
    return UvResolver(
        uv=find_uv(os.environ["PATH"]), python=python, cache=str(folder / "uv"), environment={**paths, **environment}
    )


def pip_tools(target: Target) -> FakePip:
    pip = FakePip(target)
    for name, version, tag, requires in WHEELS:
        pip.add(make_wheel(name, version, tag)[0], requires)
    return pip


@pytest.fixture(params=["fake", "uv", "pip-tools"])
def resolver(request, index, tmp_path_factory) -> Resolver:
    if request.param == "uv":
        return uv_resolver(index, tmp_path_factory.getbasetemp())
    if request.param == "pip-tools":
        return PipToolsResolver(inner=FakeResolver(), pip=pip_tools, lists=pip_tools)
    fake = FakeResolver()
    for name, version, tag, requires in WHEELS:
        fake.add(make_wheel(name, version, tag)[0], requires)
    return fake


def resolved(resolver, target, tmp_path, *lines, **request):
    found = resolver.resolve(ResolveRequest(requirements=lines, directory=str(tmp_path), **request), target)
    return {package.name: package.version for package in found}


def test_markers_are_those_of_the_target(resolver, tmp_path):
    assert resolved(resolver, make_target("3.13.5"), tmp_path, "app") == {"app": "1.0", "native": "1.1"}
    assert resolved(resolver, make_target("3.11.2", libc=(2, 36)), tmp_path, "app") == {
        "app": "1.0",
        "native": "1.0",
        "tomli": "2.0",
    }


def test_the_machine_is_that_of_the_target(resolver, tmp_path):
    arm = make_target(machine="aarch64")
    assert resolved(resolver, arm, tmp_path, "arm-only") == {"arm-only": "1.0", "pure": "1.0"}
    assert resolved(resolver, make_target(), tmp_path, "arm-only") == {"arm-only": "1.0"}
    (native,) = resolver.resolve(ResolveRequest(requirements=("native",), directory=str(tmp_path)), arm)
    assert [(native.version, wheel.name) for wheel in native.wheels] == [
        ("1.0", "native-1.0-cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64.whl")
    ]


def test_musl(resolver, tmp_path):
    assert resolved(resolver, make_target(libc=(1, 2), musl=True), tmp_path, "native") == {"native": "1.0"}


def test_files_have_their_hash_and_address(resolver, index, tmp_path):
    (pure,) = resolver.resolve(ResolveRequest(requirements=("pure",), directory=str(tmp_path)), make_target())
    (wheel,) = pure.wheels
    assert wheel.name == "pure-2.0-py3-none-any.whl"
    assert wheel.url.endswith("/files/pure-2.0-py3-none-any.whl")
    assert len(wheel.sha256) == 64
    assert pure.marker == ""


def test_preferences_hold_until_a_requirement_forbids_it(resolver, tmp_path):
    target = make_target()
    assert resolved(resolver, target, tmp_path, "pure", preferences=("pure==1.0",)) == {"pure": "1.0"}
    assert resolved(resolver, target, tmp_path, "pure>1", preferences=("pure==1.0",)) == {"pure": "2.0"}
    assert resolved(resolver, target, tmp_path, "pure", preferences=("pure==0.5",)) == {"pure": "2.0"}


def test_constraints_limit_and_add_nothing(resolver, tmp_path):
    assert resolved(resolver, make_target(), tmp_path, "pure", constraints=("pure<2", "tomli==2.0")) == {"pure": "1.0"}


def test_no_deps(resolver, tmp_path):
    assert resolved(resolver, make_target(), tmp_path, "app", no_deps=True) == {"app": "1.0"}


def test_a_requirement_that_nobody_has(resolver, tmp_path):
    with pytest.raises(UnsupportedRequirement, match="nowhere"):
        resolved(resolver, make_target(), tmp_path, "nowhere")


def test_versions_that_exclude_each_other(resolver, tmp_path):
    with pytest.raises(UnsupportedRequirement, match="pure"):
        resolved(resolver, make_target(), tmp_path, "pure>1", "pure<2")


@pytest.mark.parametrize("name", ["windows"])
def test_wheels_for_others_only(resolver, tmp_path, name):
    with pytest.raises(NoCompatibleWheel, match=rf"{name} 1\.0 has no wheel for cp313 manylinux_2_41_x86_64") as caught:
        resolved(resolver, make_target(), tmp_path, name)
    assert caught.value.exit_code == 52


class TestUv:
    """What only the real one can show."""

    def test_what_there_is_instead_is_said(self, index, tmp_path):
        uv = uv_resolver(index, tmp_path)
        with pytest.raises(NoCompatibleWheel, match="win_amd64"):
            resolved(uv, make_target(), tmp_path, "windows")
        with pytest.raises(NoCompatibleWheel, match="it has an sdist"):
            resolved(uv, make_target(), tmp_path, "source-only")

    def test_an_older_version_with_a_wheel_is_better_than_an_sdist(self, index, tmp_path):
        assert resolved(uv_resolver(index, tmp_path), make_target(), tmp_path, "both") == {"both": "1.0"}

    def test_an_sdist_is_locked_where_that_is_allowed(self, index, tmp_path):
        uv = uv_resolver(index, tmp_path)
        request = ResolveRequest(
            requirements=("source-only",),
            directory=str(tmp_path),
            allow_sdist=frozenset({"source-only"}),
            metadata=lambda found: Metadata(name=found.name, version=found.version),
        )
        (package,) = uv.resolve(request, make_target())
        assert package.sdist is not None
        assert package.sdist.name == "source_only-1.0.tar.gz"
        assert package.wheels == ()

    def test_what_an_sdist_requires_is_asked_of_the_caller_and_never_built_here(self, index, tmp_path):
        ran = tmp_path / "ran"
        for version in ("1.0", "1.1"):
            texts = native_files("dyn", version, project=False, before=f"open({str(ran)!r}, 'w')")
            index.add(make_sdist("dyn", version, texts, dynamic=True))
        index.add(make_wheel("needs-dyn", "1.0", requires=("dyn",)))
        asked = []

        def metadata(package):
            asked.append((package.name, package.version, package.sdist.name))
            # The newest one needs what is not there for it.
            requires = ("pure<2", "pure>=2") if package.version == "1.1" else ("pure<2",)
            return Metadata(name="dyn", version=package.version, requires=requires)

        def names(*lines, **more):
            uv = uv_resolver(index, tmp_path)
            request = ResolveRequest(
                requirements=lines, directory=str(tmp_path), allow_sdist=frozenset("*"), metadata=metadata, **more
            )
            return {package.name: package.version for package in uv.resolve(request, make_target())}

        assert names("needs-dyn") == {"needs-dyn": "1.0", "dyn": "1.0", "pure": "1.0"}
        assert asked == [("dyn", "1.1", "dyn-1.1.tar.gz"), ("dyn", "1.0", "dyn-1.0.tar.gz")]
        assert not ran.exists()
        with pytest.raises(NoCompatibleWheel, match="dyn"):
            names("needs-dyn", only_binary=("dyn",))

    def test_settings_of_uv_hold_beside_metadata(self, index, tmp_path):
        index.add(make_sdist("firm", "1.0", native_files("firm")))
        (tmp_path / "uv.toml").write_text('constraint-dependencies = ["pure<2"]\n')
        request = ResolveRequest(
            requirements=("firm", "pure"),
            directory=str(tmp_path),
            no_binary=("firm",),
            metadata=lambda found: Metadata(name="firm", version="1.0"),
        )
        found = uv_resolver(index, tmp_path).resolve(request, make_target())
        assert {row.name: row.version for row in found} == {"firm": "1.0", "pure": "1.0"}

    def test_all_from_sdists(self, index, tmp_path):
        for name in ("one", "two"):
            index.add(make_sdist(name, "1.0", native_files(name)))
            index.add(make_wheel(name, "1.0"))
        request = ResolveRequest(
            requirements=("one",),
            directory=str(tmp_path),
            no_binary=(":all:",),
            metadata=lambda found: Metadata(
                name=found.name, version="1.0", requires=("two",) if found.name == "one" else ()
            ),
        )
        found = uv_resolver(index, tmp_path).resolve(request, make_target())
        assert [(row.name, bool(row.sdist)) for row in found] == [("one", True), ("two", True)]

    def test_neither_credentials_nor_addresses_reach_an_error(self, index, tmp_path):
        secret = index.simple.replace("//", "//user:hunter2@")
        uv = uv_resolver(index, tmp_path, UV_DEFAULT_INDEX=secret)
        for name in ("nowhere", "windows", "pure>7"):
            with pytest.raises((UnsupportedRequirement, NoCompatibleWheel)) as caught:
                resolved(uv, make_target(), tmp_path, name)
            text = f"{caught.value} {caught.value.hint}"
            assert "hunter2" not in text
            assert "127.0.0.1" not in text

    def test_an_index_that_wants_a_password(self, tmp_path):
        with serve_index() as private:
            private.add(make_wheel("pure", "1.0"))
            private.login = ("user", "hunter2")
            from dpbuild.errors import LockError

            with pytest.raises(LockError, match="credentials") as caught:
                resolved(uv_resolver(private, tmp_path), make_target(), tmp_path, "pure")
            assert caught.value.exit_code == 40
            secret = private.simple.replace("//", "//user:hunter2@")
            uv = uv_resolver(private, tmp_path, UV_DEFAULT_INDEX=secret)
            (package,) = uv.resolve(ResolveRequest(requirements=("pure",), directory=str(tmp_path)), make_target())
            assert "hunter2" not in package.wheels[0].url

    def test_an_index_that_is_not_there(self, index, tmp_path):
        from dpbuild.errors import LockError

        uv = uv_resolver(index, tmp_path, UV_DEFAULT_INDEX="http://127.0.0.1:1/simple", UV_HTTP_RETRIES="0")
        with pytest.raises(LockError, match="cannot be reached") as caught:
            resolved(uv, make_target(), tmp_path, "pure")
        assert caught.value.exit_code == 40

    def test_offline(self, index, tmp_path):
        from dpbuild.errors import LockError

        uv = UvResolver(
            uv=find_uv(os.environ["PATH"]),
            python=sys.executable,
            cache=str(tmp_path / "uv"),
            environment={"UV_DEFAULT_INDEX": index.simple, "PATH": os.environ["PATH"]},
            offline=True,
        )
        with pytest.raises(LockError, match="offline"):
            resolved(uv, make_target(), tmp_path, "pure")

    def test_wheels_in_a_folder_of_the_project(self, index, tmp_path):
        (tmp_path / "wheels").mkdir()
        filename, data = make_wheel("local", "3.0")
        (tmp_path / "wheels" / filename).write_bytes(data)
        request = ResolveRequest(requirements=("local",), find_links=("wheels",), directory=str(tmp_path))
        (package,) = uv_resolver(index, tmp_path).resolve(request, make_target())
        assert (package.wheels[0].path, package.wheels[0].url) == (f"wheels/{filename}", "")

    def test_a_wheel_by_url(self, index, tmp_path):
        line = f"pure @ {index.file_url('pure-1.0-py3-none-any.whl')}"
        (package,) = uv_resolver(index, tmp_path).resolve(
            ResolveRequest(requirements=(line,), directory=str(tmp_path)), make_target()
        )
        assert package.wheels[0].name == "pure-1.0-py3-none-any.whl"

    def test_sources_choose_the_index(self, index, tmp_path):
        with serve_index() as second:
            second.add(make_wheel("pure", "9.0"))
            (tmp_path / "pyproject.toml").write_text(
                '[tool.uv.sources]\npure = { index = "second" }\n'
                f'[[tool.uv.index]]\nname = "second"\nurl = "{second.simple}"\nexplicit = true\n'
            )
            uv = uv_resolver(index, tmp_path)
            assert resolved(uv, make_target(), tmp_path, "pure", "tomli", sources=True) == {
                "pure": "9.0",
                "tomli": "2.0",
            }
            assert resolved(uv, make_target(), tmp_path, "pure") == {"pure": "2.0"}

    def test_the_python_that_uv_runs_with_does_not_show(self, index, tmp_path, other_python):
        request = ResolveRequest(requirements=("app",), directory=str(tmp_path))
        for target in (make_target("3.13.5"), make_target("3.11.2", libc=(2, 36))):
            found = [
                uv_resolver(index, tmp_path, python).resolve(request, target)
                for python in (sys.executable, other_python)
            ]
            assert found[0] == found[1]

    def test_the_environment_of_the_host_does_not_show(self, index, tmp_path):
        target = make_target()
        request = ResolveRequest(requirements=("app",), directory=str(tmp_path))
        plain = uv_resolver(index, tmp_path).resolve(request, target)
        odd = uv_resolver(
            index, tmp_path, UV_PYTHON="3.9", UV_SYSTEM_PYTHON="1", UV_NO_BINARY="1", VIRTUAL_ENV="/nowhere"
        )
        assert odd.resolve(request, target) == plain

    def test_a_machine_that_uv_does_not_know(self, index, tmp_path):
        from dpbuild.errors import LockError

        with pytest.raises(LockError, match="linux/arm"):
            resolved(
                uv_resolver(index, tmp_path),
                replace(make_target(), uv_platform="", platform=make_target(machine="armv7l").platform),
                tmp_path,
                "pure",
            )

    def test_a_uv_lock_is_exported_and_never_resolved_again(self, index, tmp_path):
        _uv_lock(index, tmp_path)
        served = len(index.requests)
        uv = uv_resolver(index, tmp_path, UV_DEFAULT_INDEX="http://127.0.0.1:1/simple")
        found = {package.name: package for package in uv.export(str(tmp_path), (), ())}
        assert {name: row.version for name, row in found.items()} == {"native": "1.0", "windows": "1.0"}
        assert found["windows"].marker == "sys_platform == 'win32'"
        assert len(found["native"].wheels) == 4
        more = {package.name for package in uv.export(str(tmp_path), ("prod",), ("serve",))}
        assert more == {"native", "windows", "pure", "tomli"}
        assert len(index.requests) == served
        with pytest.raises(UnsupportedRequirement, match="'nope'"):
            uv.export(str(tmp_path), ("nope",), ())


def _uv_lock(index, folder: Path) -> None:
    import subprocess

    (folder / "pyproject.toml").write_text(
        '[project]\nname = "proj"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["native==1.0", "windows; sys_platform == \'win32\'"]\n'
        '[project.optional-dependencies]\nprod = ["pure"]\n'
        '[dependency-groups]\nserve = ["tomli"]\ndev = ["app"]\n'
    )
    environment = {"UV_DEFAULT_INDEX": index.simple, "PATH": os.environ["PATH"], "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run(
        [
            find_uv(os.environ["PATH"]),
            "lock",
            "--quiet",
            "--python",
            sys.executable,
            "--cache-dir",
            str(folder / "cache"),
        ],
        cwd=folder,
        env=environment,
        check=True,
    )


@pytest.fixture(scope="module")
def other_python() -> str:
    """A Python of another minor version than the running one."""
    import shutil
    import subprocess

    names = [
        path for minor in range(9, 16) if minor != sys.version_info[1] and (path := shutil.which(f"python3.{minor}"))
    ]
    names += [str(path) for path in sorted((Path.home() / ".pyenv" / "versions").glob("3.1*/bin/python3"))]
    for name in names:
        done = subprocess.run(
            [name, "-c", "import sys; print(sys.version_info[1], sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0 and done.stdout.split()[0] != str(sys.version_info[1]):
            return done.stdout.split()[1]
    pytest.skip("there is no Python of another minor version")
