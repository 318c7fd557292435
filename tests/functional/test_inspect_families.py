"""``dpbuild inspect`` on every family of bases, and its published schema."""

import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from bench import Bench
from factories.bases import families
from factories.image import make_image

from dpbuild.oci.platform import Platform
from dpbuild.stages import facts_codec
from dpbuild.stages.target import target

DATA = Path(__file__).parent.parent / "data"
FAMILIES = families(lzma.decompress((DATA / "rpmdb.sqlite.xz").read_bytes()))


@pytest.fixture(scope="module")
def schema(root: Path) -> dict[str, Any]:
    found = json.loads((root / "docs/schema/inspect.json").read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return dict(found)


@pytest.fixture
def inspect(bare: Bench) -> Callable[[str], dict[str, Any]]:
    def run(name: str) -> dict[str, Any]:
        family = FAMILIES[name]
        image = make_image(
            bare.tmp / "image", *family.layers, config=family.config, annotations=family.annotations or None
        )
        words = ("inspect", f"oci:{image.path}", "--platform", "linux/amd64")
        table = bare.run(*words, check=True)
        assert f"interpreter            {family.facts['interpreter']}\n" in table.out
        return dict(json.loads(bare.run(*words, "--json", check=True).out))

    return run


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family(name: str, inspect: Callable[[str], dict[str, Any]], schema: dict[str, Any]) -> None:
    family = FAMILIES[name]
    said = inspect(name)
    facts = said["facts"]

    jsonschema.Draft202012Validator(schema).validate(said)
    assert {key: facts[key] for key in family.facts} == family.facts
    assert {key: facts["surroundings"][key] for key in family.surroundings} == family.surroundings
    # What was read is enough to choose wheels.
    found = target(facts_codec.decode(facts), Platform("linux", "amd64"))
    assert next(str(row) for row in found.tags if not str(row).endswith("-linux_x86_64")) == family.tag


def test_the_schema_names_everything(inspect: Callable[[str], dict[str, Any]], schema: dict[str, Any]) -> None:
    """What is left out or added without the schema is noticed, at every level."""
    said = inspect("relocated")
    validator = jsonschema.Draft202012Validator(schema)
    places = [
        said,
        said["config"],
        said["facts"],
        said["facts"]["libc"],
        said["facts"]["surroundings"],
        said["facts"]["surroundings"]["certificates"],
        said["facts"]["virtual_environment"],
    ]
    for place in places:
        place["more"] = 1
        assert not validator.is_valid(said)
        del place["more"]
        key, value = next(iter(place.items()))
        del place[key]
        assert not validator.is_valid(said)
        place[key] = value
    assert validator.is_valid(said)
