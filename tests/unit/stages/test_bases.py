"""What a base that cannot be had is answered with."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dpbuild.errors import NotFound, RegistryError
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import parse
from dpbuild.stages.bases import Bases

AMD64 = Platform("linux", "amd64")


class Closed:
    """A source whose registry does not answer, or does not have it."""

    def __init__(self, problem: Exception) -> None:
        self._problem = problem

    def __getattr__(self, name: str) -> Any:
        def fails(*_: object, **__: object) -> None:
            raise self._problem

        return fails


def hint(base: str, problem: RegistryError) -> str | None:
    world = SimpleNamespace(source=lambda *_: Closed(problem), store=None, reporter=None)
    config = SimpleNamespace(base=parse(base), base_key="")
    bases = Bases(world=cast("Any", world), config=cast("Any", config), pinned=None)
    with pytest.raises(type(problem)) as raised:
        bases.get(AMD64)
    assert (raised.value.what, raised.value.where) == (problem.what, problem.where)
    return raised.value.hint


@pytest.mark.parametrize(
    ("base", "composed"),
    [
        ("gcr.io/distroless/python3-debian13:nonroot", "compose:debian13:nonroot"),
        ("gcr.io/distroless/python3-debian12", "compose:debian12:latest"),
    ],
)
def test_where_googles_registry_cannot_be_reached_the_same_can_be_made(base: str, composed: str) -> None:
    problem = RegistryError("cannot reach gcr.io", where="https://gcr.io/v2/", hint="check the network")
    told = hint(base, problem)
    assert told is not None
    assert told.startswith("check the network; ")
    assert f" {composed} " in told


@pytest.mark.parametrize(
    "base",
    ["gcr.io/distroless/python3-debian13:debug", "registry.example/distroless/python3-debian13:nonroot"],
)
def test_of_other_bases_nothing_is_made(base: str) -> None:
    assert hint(base, RegistryError("cannot reach it", hint="check the network")) == "check the network"


def test_who_was_reached_is_not_replaced() -> None:
    assert hint("gcr.io/distroless/python3-debian13:nonroot", NotFound("there is none")) is None
