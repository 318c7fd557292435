"""``dpbuild check`` and ``explain`` through the command line: JSON and SARIF by their schemas, choice of rules, all families."""

import json
import lzma
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from bench import Bench
from factories.bases import families
from factories.image import File, Files, make_image
from factories.subject import BASE_ENV, PYTHON, SITE, base

from dpbuild.stages.proof.rules import ALL

DATA = Path(__file__).parent.parent / "data"
FAMILIES = families(lzma.decompress((DATA / "rpmdb.sqlite.xz").read_bytes()))
CONFIG = {"Entrypoint": [PYTHON], "Env": list(BASE_ENV), "User": "65532", "WorkingDir": "/home/nonroot"}
# One file of each severity.
BROKEN: Files = {
    f"{SITE}/six-1.0.data/scripts/tool": File(b""),
    "usr/bin/su": File(b"x", 0o4755),
    "app/x y#1.key": File(b"-----BEGIN PRIVATE KEY-----\n"),
}


@pytest.fixture
def broken(bare: Bench) -> str:
    config = CONFIG | {"Cmd": ["/usr/bin/python3", "/app/main.py"]}
    return f"oci:{make_image(bare.tmp / 'broken', *base(), BROKEN, config=config).path}"


@pytest.fixture
def fine(bare: Bench) -> str:
    return f"oci:{make_image(bare.tmp / 'fine', *base(), config=CONFIG).path}"


def check(bare: Bench, *arguments: object) -> tuple[int, Any]:
    done = bare.run("check", *arguments, "--json", "--platform", "linux/amd64")
    return done.status, json.loads(done.out)


def test_an_image_without_findings_is_told_once(bare: Bench, fine: str) -> None:
    done = bare.run("check", fine, "--platform", "linux/amd64", "--progress", "json")
    assert (done.status, done.out) == (0, "")
    assert done.err.count("no findings") == 1
    assert "0 findings" not in done.err
    assert "fetching the image" in done.err
    assert "the base" not in done.err


def test_json_is_as_its_schema_says(bare: Bench, broken: str, fine: str, root: Path) -> None:
    schema = json.loads((root / "docs/schema/check.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    status, rows = check(bare, broken)
    assert status == 70
    validator.validate(rows)
    assert [(row["rule"], row["severity"], row["path"]) for row in rows] == [
        ("INT002", "error", PYTHON),
        ("LAY008", "warning", f"/{SITE}/six-1.0.data"),
        ("SUP001", "warning", "/app/x y#1.key"),
        ("LAY013", "note", "/usr/bin/su"),
    ]
    assert check(bare, fine) == (0, [])
    for key in rows[0]:
        assert not validator.is_valid([{name: text for name, text in rows[0].items() if name != key}])
    assert not validator.is_valid([rows[0] | {"more": ""}])


def test_sarif_is_as_its_schema_says(bare: Bench, broken: str, fine: str) -> None:
    schema = json.loads(lzma.decompress((DATA / "sarif-schema-2.1.0.json.xz").read_bytes()))
    checker = jsonschema.Draft4Validator.FORMAT_CHECKER
    validator = jsonschema.Draft4Validator(schema, format_checker=checker)
    for reference in (broken, fine):
        file = bare.tmp / "out.sarif"
        bare.run("check", reference, "--sarif", file, "--platform", "linux/amd64")
        value = json.loads(file.read_text())
        validator.validate(value)
        (run,) = value["runs"]
        rules = run["tool"]["driver"]["rules"]
        assert [row["id"] for row in rules] == [rule.id for rule in ALL]
        assert all(rules[row["ruleIndex"]]["id"] == row["ruleId"] for row in run["results"])
        levels = [(row["ruleId"], row["level"]) for row in run["results"]]
        assert levels == (
            [("INT002", "error"), ("LAY008", "warning"), ("SUP001", "warning"), ("LAY013", "note")]
            if reference == broken
            else []
        )
        marks = [row["partialFingerprints"]["dpbuild/v1"] for row in run["results"]]
        assert len(set(marks)) == len(marks)


def test_paths_in_sarif_are_references(bare: Bench, broken: str) -> None:
    """RFC 3986: blanks and number signs are not what they seem in a URI."""
    file = bare.tmp / "out.sarif"
    bare.run("check", broken, "--select", "SUP001", "--sarif", file, "--platform", "linux/amd64")
    (row,) = json.loads(file.read_text())["runs"][0]["results"]
    assert row["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "app/x%20y%231.key"


@pytest.mark.parametrize(
    ("arguments", "rules"),
    [
        (("--select", "LAY"), ["LAY008", "LAY013"]),
        (("--select", "LAY,SUP001"), ["LAY008", "SUP001", "LAY013"]),
        (("--ignore", "LAY", "--ignore", "INT002"), ["SUP001"]),
        (("--ignore", "ALL", "--select", "LAY008"), ["LAY008"]),
        (("--select", "LAY", "--ignore", "LAY013"), ["LAY008"]),
    ],
)
def test_which_rules_count(bare: Bench, broken: str, arguments: tuple[str, ...], rules: list[str]) -> None:
    status, rows = check(bare, broken, *arguments)
    assert [row["rule"] for row in rows] == rules
    assert status == (70 if "INT002" in rules else 0)


def test_a_rule_that_there_is_not(bare: Bench, broken: str) -> None:
    done = bare.run("check", broken, "--select", "LAY08")
    assert done.status == 2
    assert "no rule is named 'LAY08'; did you mean 'LAY008'?" in done.err


def test_explain(bare: Bench) -> None:
    listing = bare.run("explain", check=True).out
    assert [line.split()[0] for line in listing.splitlines() if line.startswith("  ")] == [rule.id for rule in ALL]
    for word, text in (("STA017", "SIGTERM"), ("sta018", "/busybox/sh"), ("STA019", "md4")):
        page = bare.run("explain", word, check=True).out
        assert page.startswith(f"{word.upper()} (explained): ")
        assert text in page
        assert "How to mend it:" in page
    assert "LAY001" in bare.run("explain", "LAY", check=True).out


@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_of_bases_is_wrong(bare: Bench, name: str) -> None:
    """What the rebuilt bases lack, they lack because only what facts are read from was rebuilt."""
    family = FAMILIES[name]
    image = make_image(bare.tmp / "image", *family.layers, config=family.config, annotations=family.annotations or None)
    _, rows = check(bare, f"oci:{image.path}")
    left_out = {"chiselled ubuntu": ["INT005"], "relocated": ["INT008"]}
    assert [row["rule"] for row in rows if row["severity"] == "error"] == left_out.get(name, [])
    warnings = {row["rule"] for row in rows if row["severity"] == "warning"}
    assert warnings <= {"RUN008", *({"STA010"} if name == "relocated" else ())}


def test_annotations_are_part_of_what_is_remembered(bare: Bench) -> None:
    """Two images that differ in nothing else: what one says of its Python is no answer for the other."""
    found = []
    for name, said in (("right", "3.13.5"), ("wrong", "3.11.2")):
        layers = make_image(
            bare.tmp / name, *base(), config=CONFIG, annotations={"com.google.distroless.python.version": said}
        )
        found.append([row["rule"] for row in check(bare, f"oci:{layers.path}")[1]])
    assert found == [[], ["INT012"]]
