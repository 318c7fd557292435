"""The second lock as a file."""

import tomllib
from dataclasses import replace

import pytest
from factories.facts import make_facts
from packaging.pylock import Pylock

from dpbuild.errors import LockError, TargetError
from dpbuild.model.builder import BuilderPlan, BuildLock
from dpbuild.model.lock import Lock, LockedFile, LockedPackage
from dpbuild.stages import buildlock
from dpbuild.stages.builder import check, digest

MARKERS = {
    "linux/amd64": "platform_machine == 'x86_64' and sys_platform == 'linux'",
    "linux/arm64": "platform_machine == 'aarch64' and sys_platform == 'linux'",
}


def file(name: str) -> LockedFile:
    return LockedFile(name=name, sha256="a" * 64, url=f"https://index.example.org/{name}")


def unit(platform: str, *packages: tuple[str, str, str]) -> Lock:
    return Lock(
        requires_python="==3.13.*",
        environments=(MARKERS[platform],),
        packages=tuple(
            LockedPackage(name=name, version=version, wheels=(file(f"{name}-{version}-{tag}.whl"),))
            for name, version, tag in packages
        ),
        platforms=(platform,),
        inputs="sha256:x",
        input_values=(("requirements", ("setuptools",)),),
        base_reference="",
        base_digest="",
    )


PLAN = BuilderPlan(
    platform="linux/amd64",
    base="sha256:" + "b" * 64,
    suite="debian13",
    wanted=("libpq-dev",),
    pins=(("gcc", "4:14.2.0-1", "c" * 64),),
)
LOCK = BuildLock(
    units=(
        (("app", "linux/amd64"), unit("linux/amd64", ("setuptools", "80", "py3-none-any"))),
        (("sdist-a-1-0", "linux/amd64"), unit("linux/amd64", ("setuptools", "60", "py3-none-any"))),
        (("sdist-b-2", "linux/amd64"), unit("linux/amd64", ("ninja", "1", "py3-none-manylinux2014_x86_64"))),
        (("sdist-b-2", "linux/arm64"), unit("linux/arm64", ("ninja", "1", "py3-none-manylinux2014_aarch64"))),
    ),
    builders=(
        PLAN,
        replace(
            PLAN, platform="linux/arm64", wanted=(), suite="", pins=(), image="x", image_digest="sha256:" + "f" * 64
        ),
    ),
)


def test_there_and_back():
    text = buildlock.dumps(LOCK)
    found = buildlock.loads(text)
    assert buildlock.dumps(found) == text
    assert found.builders == LOCK.builders
    assert [key for key, _ in found.units] == [key for key, _ in LOCK.units]
    (setuptools,) = dict(found.units)["sdist-a-1-0", "linux/amd64"].packages
    assert (setuptools.version, setuptools.marker) == ("60", "")


def test_every_unit_is_a_dependency_group_that_others_understand():
    document = Pylock.from_dict(tomllib.loads(buildlock.dumps(LOCK)))
    for groups, machine, expected in (
        (["app"], "x86_64", {("setuptools", "80")}),
        (["sdist-a-1-0"], "x86_64", {("setuptools", "60")}),
        (["sdist-b-2"], "x86_64", {("ninja", "1")}),
        (["sdist-b-2"], "aarch64", {("ninja", "1")}),
        (["app"], "aarch64", set()),
    ):
        environment = {"platform_machine": machine, "sys_platform": "linux", "python_full_version": "3.13.5"}
        found = {
            (str(row.name), str(row.version))
            for row in document.packages
            if row.marker is None or row.marker.evaluate({**environment, "dependency_groups": set(groups)}, "lock_file")
        }
        assert found == expected


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lock-version = 2", "lock-version = 1", "has version 1"),
        ("setuptools==60", "setuptools==61", "setuptools==61 is not"),
        ("gcc 4:14.2.0-1", "gcc", "rows of name, version and sha256"),
        ("sha256:" + "f" * 64, "sha256:zzzz", r"image-digest must be \"sha256:\" and 64"),
        ("https://index", "https://ann:secret@index", "user or password"),
    ],
)
def test_a_damaged_lock(old, new, said):
    with pytest.raises(LockError, match=said):
        buildlock.loads(buildlock.dumps(LOCK).replace(old, new))


def test_names_of_units():
    assert buildlock.unit("psycopg2", "2.9.10") == "sdist-psycopg2-2-9-10"
    assert buildlock.unit("a-b", "1.0+local.1") == "sdist-a-b-1-0-local-1"


def test_the_builder_by_content():
    layers = ["sha256:1"]
    assert digest(PLAN, layers) == digest(replace(PLAN, wanted=()), layers)
    assert digest(PLAN, layers) != digest(PLAN, ["sha256:2"])
    assert digest(PLAN, layers) != digest(replace(PLAN, pins=(("gcc", "4:14.2.0-2", "d" * 64),)), layers)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "3.12.1"}, "its Python is 3.12, the base's is 3.13"),
        ({"machine": "aarch64"}, "its machine is aarch64, the base's is x86_64"),
        ({"soabi": "cpython-313t-x86_64-linux-gnu"}, "its SOABI is cpython-313t"),
    ],
)
def test_builders_that_do_not_match(change, said):
    base = make_facts()
    check(base, replace(base, version="3.13.99"))
    check(base, replace(base, libc=replace(base.libc, version=(2, 36))))
    with pytest.raises(TargetError, match=said):
        check(base, replace(base, **change))
