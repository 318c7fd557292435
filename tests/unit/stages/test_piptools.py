"""What is taken as a wheel, what is built, and what pip is told of that."""

from typing import Any

import pytest
from factories.facts import make_target
from fakes.pip import FakePip
from fakes.resolver import FakeResolver

from dpbuild.errors import NoCompatibleWheel, UnsupportedRequirement
from dpbuild.model.lock import LockedPackage
from dpbuild.ports.resolver import ResolveRequest
from dpbuild.pypa.metadata import Metadata
from dpbuild.stages.piptools import PipToolsResolver

TARGET = make_target()
PURE = "py3-none-any"


@pytest.fixture
def pip() -> FakePip:
    found = FakePip(TARGET)
    for name in ("pure-1.0", "pure-2.0", "both-1.0"):
        found.add(f"{name}-{PURE}.whl")
    for name in ("source-1.0", "source-1.1", "both-1.0", "both-2.0", "pure-2.0"):
        found.add(f"{name}.tar.gz")
    found.add("windows-1.0-cp313-cp313-win_amd64.whl")
    return found


def taken(pip: FakePip, *lines: str, asked: dict[str, tuple[str, ...]] | None = None, **more: Any) -> dict[str, str]:
    """The files by project; ``asked`` is what sdists require, by their file name, and those that were not asked go."""
    told: dict[str, tuple[str, ...]] = asked if asked is not None else {}
    seen = set()

    def metadata(package: LockedPackage) -> Metadata:
        assert package.sdist is not None
        seen.add(package.sdist.name)
        return Metadata(name=package.name, version=package.version, requires=told.get(package.sdist.name, ()))

    request = ResolveRequest(requirements=lines, metadata=metadata, **{"allow_sdist": frozenset("*"), **more})
    found = PipToolsResolver(inner=FakeResolver(), pip=lambda target: pip, lists=lambda target: pip).resolve(
        request, TARGET
    )
    if asked is not None:
        assert seen == {*asked}
    forced = {*more.get("no_binary", ())}
    out = {}
    for row in found:
        built = row.sdist if row.name in forced or ":all:" in forced or not row.wheels else None
        out[row.name] = built.name if built else row.wheels[0].name
    return out


def test_a_wheel_before_a_newer_sdist(pip: FakePip) -> None:
    assert taken(pip, "both", "pure", asked={}) == {
        "both": "both-1.0-py3-none-any.whl",
        "pure": "pure-2.0-py3-none-any.whl",
    }
    assert pip.compiled == 1


def test_an_sdist_where_there_is_nothing_else(pip: FakePip) -> None:
    found = taken(pip, "source", "both>1", asked={"source-1.1.tar.gz": ("pure<2",), "both-2.0.tar.gz": ()})
    assert found == {"both": "both-2.0.tar.gz", "pure": "pure-1.0-py3-none-any.whl", "source": "source-1.1.tar.gz"}


def test_what_requires_nothing_is_not_resolved_again(pip: FakePip) -> None:
    assert taken(pip, "source==1.0", asked={"source-1.0.tar.gz": ()}) == {"source": "source-1.0.tar.gz"}
    assert pip.compiled == 2


def test_requirements_of_an_sdist_are_sdists_themselves(pip: FakePip) -> None:
    pip.add("outer-1.0.tar.gz")
    asked: dict[str, tuple[str, ...]] = {"outer-1.0.tar.gz": ("source<1.1",), "source-1.0.tar.gz": ("pure",)}
    assert [*taken(pip, "outer", asked=asked)] == ["outer", "pure", "source"]


def test_what_was_withdrawn_is_taken_only_by_its_version(pip: FakePip) -> None:
    pip.add("source-1.2.tar.gz", yanked=True)
    assert taken(pip, "source")["source"] == "source-1.1.tar.gz"
    assert taken(pip, "source==1.2")["source"] == "source-1.2.tar.gz"


def test_no_binary(pip: FakePip) -> None:
    asked: dict[str, tuple[str, ...]] = {"both-2.0.tar.gz": ("pure",)}
    assert taken(pip, "both", no_binary=("both",), asked=asked) == {
        "both": "both-2.0.tar.gz",
        "pure": "pure-2.0-py3-none-any.whl",
    }
    asked |= {"pure-2.0.tar.gz": ()}
    assert taken(pip, "both", no_binary=(":all:",), asked=asked)["pure"] == "pure-2.0.tar.gz"


def test_a_version_without_an_sdist_where_one_is_needed(pip: FakePip) -> None:
    pip.add(f"both-3.0-{PURE}.whl")
    assert taken(pip, "both", no_binary=("both",))["both"] == "both-2.0.tar.gz"
    with pytest.raises(NoCompatibleWheel, match="plain is to be built from its sdist, and the index has none"):
        pip.add(f"plain-1.0-{PURE}.whl")
        taken(pip, "plain", no_binary=("plain",))


@pytest.mark.parametrize("more", [{"only_binary": ("source",)}, {"allow_sdist": frozenset()}], ids=["only", "none"])
def test_nothing_may_be_built(pip: FakePip, more: dict[str, Any]) -> None:
    with pytest.raises(NoCompatibleWheel, match=r"source 1\.1 has no wheel for .* \(only an sdist\)"):
        taken(pip, "source", **more)


def test_wheels_for_others_only(pip: FakePip) -> None:
    with pytest.raises(NoCompatibleWheel, match=r"windows 1\.0 has no wheel for cp313 manylinux_2_41_x86_64"):
        taken(pip, "windows")


def test_no_solution(pip: FakePip) -> None:
    for lines in (("pure>2",), ("nowhere",), ("pure<2", "pure>1")):
        with pytest.raises(UnsupportedRequirement, match="no solution"):
            taken(pip, *lines)


def test_without_dependencies(pip: FakePip) -> None:
    pip.add(f"app-1.0-{PURE}.whl", ("pure",))
    lines = ("app==1.0", "both", "pure; python_version < '3'", "source==1.0")
    assert [*taken(pip, *lines, no_deps=True)] == ["app", "both", "source"]
    assert pip.compiled == 0


def test_a_file_by_its_address(pip: FakePip) -> None:
    address = f"{pip.url}/pure-1.0-{PURE}.whl"
    assert taken(pip, f"pure @ {address}", "both") == {"both": f"both-1.0-{PURE}.whl", "pure": f"pure-1.0-{PURE}.whl"}


def test_hashes_are_asked_for_where_the_index_gave_none(pip: FakePip) -> None:
    """A listing of all versions need have none."""
    plain = pip.offered

    def offered(request, pins, target):
        from dataclasses import replace

        found = plain(request, pins, target)
        if all(pin.version for pin in pins):
            return found
        return {
            name: tuple(replace(row, file=replace(row.file, sha256="")) for row in rows) for name, rows in found.items()
        }

    pip.offered = offered  # type: ignore[method-assign]
    asked = []

    def metadata(package: LockedPackage) -> Metadata:
        asked.append(package)
        return Metadata(name=package.name, version=package.version)

    request = ResolveRequest(requirements=("source",), allow_sdist=frozenset("*"), metadata=metadata)
    (found,) = PipToolsResolver(inner=FakeResolver(), pip=lambda target: pip, lists=lambda target: pip).resolve(
        request, TARGET
    )
    assert found.sdist is not None
    assert found.sdist.sha256 == asked[0].sdist.sha256 == "0" * 64


def test_files_are_listed_by_another_pip_of_the_same_index(pip: FakePip) -> None:
    """Versions alone are asked of the target's own, which may be emulated."""
    near = FakePip(TARGET)
    near.files, near.requires, pip.files = pip.files, pip.requires, {"pure": pip.files["pure"]}
    request = ResolveRequest(requirements=("pure",))
    (found,) = PipToolsResolver(inner=FakeResolver(), pip=lambda _: pip, lists=lambda _: near).resolve(request, TARGET)
    assert (found.version, pip.compiled, near.compiled) == ("2.0", 1, 0)
