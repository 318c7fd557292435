"""In which builder packages are resolved, listed and fetched."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from factories.base import make_base
from factories.facts import make_target

from dpbuild.model.builder import BuilderPlan
from dpbuild.model.config import BuilderConfig, Config
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import parse
from dpbuild.stages.piptools import PipToolsResolver
from dpbuild.stages.reach import Reach

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")
BASES = {row: replace(make_base({}), platform=row) for row in (AMD, ARM)}
WORLD = SimpleNamespace(host=AMD, resolver="uv", fetcher="this machine")


class Builders:
    """Says for whom it was asked, in place of doing anything."""

    def __init__(self) -> None:
        self.planned: list[tuple[str, tuple[str, ...]]] = []

    def plan(self, base: Any, packages: tuple[str, ...]) -> BuilderPlan:
        self.planned.append((str(base.platform), packages))
        return BuilderPlan(platform=str(base.platform), base=str(base.descriptor.digest), wanted=packages)

    def pip(self, base: Any, plan: BuilderPlan | None, directory: str) -> Any:
        return str(base.platform), plan

    def fetcher(self, base: Any, plan: Any, directory: str, host: Any) -> Any:
        return str(base.platform), host, plan


def reach(plans: dict[Any, BuilderPlan] | None = None, **builder: Any) -> tuple[Reach, Builders]:
    builders = Builders()
    config = Config(directory="/p", base=parse("oci:base"), builder=BuilderConfig(**builder))
    return Reach(WORLD, config, builders, lambda: plans or {}), builders  # type: ignore[arg-type]


def test_this_machine_unless_it_is_configured() -> None:
    found, _ = reach()
    assert (found.resolver(BASES.__getitem__), found.fetcher(BASES[ARM])) == ("uv", "this machine")
    assert isinstance(found.resolver(BASES.__getitem__, "pip-tools"), PipToolsResolver)
    found, _ = reach(resolve=True)
    assert found.resolver(BASES.__getitem__, "uv") == "uv"
    assert isinstance(found.resolver(BASES.__getitem__), PipToolsResolver)


@pytest.mark.parametrize("order", [(AMD, ARM), (ARM, AMD, ARM)])
def test_files_come_by_a_builder_of_this_machine_as_soon_as_there_is_one(order: tuple[Platform, ...]) -> None:
    found, _ = reach(resolve=True)
    rows: list[Any] = [found.fetcher(BASES[row]) for row in order]
    assert [row[0] for row in rows] == ["linux/arm64"][: len(order) - 2] + ["linux/amd64"] * 2
    assert {row[1] for row in rows} == {"this machine"}
    resolver = found.resolver(BASES.__getitem__)
    assert isinstance(resolver, PipToolsResolver)
    arm = make_target(machine="aarch64")
    assert [resolver.pip(arm), resolver.lists(arm)] == [("linux/arm64", None), ("linux/amd64", None)]


def test_a_builder_only_where_the_configuration_wants_one_and_no_second_one() -> None:
    found, builders = reach(resolve=True, packages=("libkrb5-3",))
    rows: list[Any] = [found.fetcher(BASES[AMD]) for _ in range(2)]
    assert builders.planned == []
    assert [row[2]().wanted for row in rows] == [("libkrb5-3",), ("libkrb5-3",)]
    assert builders.planned == [("linux/amd64", ("libkrb5-3",))]


def test_the_locked_builder_if_it_is_for_this_base() -> None:
    digest = str(BASES[AMD].descriptor.digest)
    plan = BuilderPlan(platform="linux/amd64", base=digest, image="oci:image", image_digest="sha256:1")
    for kept, planned in ((plan, 0), (replace(plan, base="sha256:2"), 1), (replace(plan, image="oci:other"), 1)):
        found, builders = reach({("linux/amd64", ()): kept}, resolve=True, image="oci:image", packages=("ignored",))
        row: Any = found.fetcher(BASES[AMD])
        assert (row[2]() is kept) == (not planned)
        assert builders.planned == [("linux/amd64", ())] * planned
