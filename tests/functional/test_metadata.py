"""``--metadata-file``: what it says is what its published schema says, for every kind of destination."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from bench import Bench


@pytest.fixture
def schema(root: Path) -> dict[str, Any]:
    value = json.loads((root / "docs/schema/metadata.json").read_text())
    jsonschema.Draft202012Validator.check_schema(value)
    assert isinstance(value, dict)
    return value


@pytest.mark.registry
def test_several_destinations(bench: Bench, registry: str, schema: dict[str, Any]) -> None:
    file = bench.tmp / "metadata.json"
    tag = f"{registry}/metadata/app:1"
    words = ("-o", bench.tmp / "image.tar", "--push", "-t", tag, "--metadata-file", file)
    done = bench.build(*words, check=True)
    found = json.loads(file.read_text())
    jsonschema.validate(found, schema)
    assert [row["kind"] for row in found["outputs"]] == ["registry", "oci", "oci-archive"]
    assert {row["digest"] for row in found["outputs"]} == {found["digest"]}
    assert found["outputs"][0]["reference"] == done.out.strip()
    assert {row["subject"] for row in found["referrers"]} == {found["digest"]}
    # An unchanged build says the same.
    file.unlink()
    bench.build(*words, check=True)
    assert json.loads(file.read_text()) == found


@pytest.mark.docker
def test_an_engine(bench: Bench, schema: dict[str, Any], need: Any) -> None:
    need("docker")
    file = bench.tmp / "metadata.json"
    bench.run("build", bench.project, "--load", "--no-evidence", "--metadata-file", file, check=True)
    found = json.loads(file.read_text())
    jsonschema.validate(found, schema)
    assert [row["kind"] for row in found["outputs"]] == ["docker"]
    assert found["referrers"] == []
