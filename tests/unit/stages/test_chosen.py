"""Files are chosen once for a lock and a base."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories.base import make_base
from factories.facts import make_facts

from dpbuild.adapters.store import DiskStore
from dpbuild.errors import NoCompatibleWheel
from dpbuild.model.base import Base
from dpbuild.model.lock import Lock, LockedFile, LockedPackage
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform
from dpbuild.stages import select
from dpbuild.stages.chosen import Chosen, choose


def file(name: str) -> LockedFile:
    return LockedFile(name=name, sha256=name.encode().hex()[:64].ljust(64, "0"), url=f"https://index.example/{name}")


def wheels(*tags: str, name: str = "a", version: str = "1.0") -> tuple[LockedFile, ...]:
    return tuple(file(f"{name}-{version}-{tag}.whl") for tag in tags)


PACKAGES = (
    LockedPackage(name="a", version="1.0", wheels=wheels("py3-none-any", "cp313-cp313-manylinux_2_17_x86_64")),
    LockedPackage(name="b", version="1", marker="sys_platform == 'win32'", wheels=wheels("py3-none-any", name="b")),
    LockedPackage(
        name="b", version="2", wheels=wheels("py3-none-any", name="b", version="2"), sdist=file("b-2.tar.gz")
    ),
    LockedPackage(name="c", version="", wheels=wheels("py3-none-any", name="c", version="3")),
    LockedPackage(name="d", version="4", sdist=file("d-4.tar.gz")),
)


class Case:
    """A store, and how often something was chosen."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = DiskStore(path)
        self.asked = 0
        real = select.select

        def counted(*given: Any, **named: Any) -> Chosen:
            self.asked += 1
            return real(*given, **named)

        monkeypatch.setattr(select, "select", counted)

    def choose(
        self, text: str = "lock", base: Base | None = None, no_binary: tuple[str, ...] = (), *rows: LockedPackage
    ) -> Chosen:
        lock = Lock(
            requires_python="",
            environments=(),
            packages=rows or PACKAGES,
            platforms=("linux/amd64",),
            inputs="",
            base_reference="",
            base_digest="",
        )
        return choose(lock, text, base or make_base(), no_binary, self.store)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(tmp_path / "store", monkeypatch)


def test_the_same_is_chosen_and_not_chosen_again(case: Case) -> None:
    first, second = case.choose(), case.choose()
    assert (second, case.asked) == (first, 1)
    assert [(package.name, package.version, chosen.name) for package, chosen in second] == [
        ("a", "1.0", "a-1.0-cp313-cp313-manylinux_2_17_x86_64.whl"),
        ("b", "2", "b-2-py3-none-any.whl"),
        ("c", "3", "c-3-py3-none-any.whl"),
        ("d", "4", "d-4.tar.gz"),
    ]


def test_lock_and_configuration_count(case: Case) -> None:
    case.choose()
    assert case.choose("another", None, (), *PACKAGES[:1]) == case.choose()[:1]
    sdist = case.choose("lock", None, ("b",))
    assert [chosen.name for package, chosen in sdist if package.name == "b"] == ["b-2.tar.gz"]
    assert case.asked == 3


def test_the_base_counts(case: Case) -> None:
    base = make_base()
    older = replace(
        base,
        descriptor=replace(base.descriptor, digest=Digest("1" * 64)),
        facts=make_facts("3.12.1"),
    )
    arm = replace(base, platform=Platform("linux", "arm64"), facts=make_facts(machine="aarch64"))
    first = case.choose(base=base)[0][1]
    assert {case.choose(base=each)[0][1].name for each in (older, arm)} == {"a-1.0-py3-none-any.whl"} != {first.name}
    assert case.asked == 3


def test_what_is_refused_is_refused_each_time(case: Case) -> None:
    row = LockedPackage(name="a", version="1.0", wheels=wheels("cp39-cp39-win_amd64"))
    for _ in range(2):
        with pytest.raises(NoCompatibleWheel):
            case.choose("lock", None, (), row)
