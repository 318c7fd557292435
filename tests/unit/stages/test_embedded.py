"""SBOMs inside wheels, in the terms of ours: honest ones, and those that must not make ours invalid."""

import json
from typing import Any

import pytest

from dpbuild.stages.evidence.embedded import Embedded, read

PATH = "/site/x-1.dist-info/sboms/x.json"
OWNER = "pkg:pypi/x@1"


def parsed(value: Any) -> Embedded:
    return read(PATH, json.dumps(value).encode(), OWNER)


def cyclonedx(*components: dict[str, Any], **more: Any) -> Embedded:
    return parsed({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": list(components), **more})


def test_cyclonedx() -> None:
    found = cyclonedx(
        {
            "type": "library", "bom-ref": "a", "name": "a", "version": "1", "purl": "pkg:cargo/a@1",
            "hashes": [{"alg": "SHA-256", "content": "AB" * 32}], "licenses": [{"license": {"id": "MIT"}}],
            "components": [{"type": "library", "bom-ref": "b", "name": "b"}], "supplier": {"name": "somebody"},
        },
        metadata={"component": {"bom-ref": "root", "name": "x", "type": "library"}},
        dependencies=[{"ref": "root", "dependsOn": ["a", "nobody"]}, {"ref": "a", "dependsOn": ["b"]}, {"ref": "nobody"}],
    )  # fmt: skip
    (a,) = found.components
    (b,) = a["components"]
    assert a == {
        "type": "library", "bom-ref": f"{OWNER}#{PATH}:1", "name": "a", "version": "1", "purl": "pkg:cargo/a@1",
        "hashes": [{"alg": "SHA-256", "content": "ab" * 32}], "licenses": [{"expression": "MIT"}], "components": [b],
    }  # fmt: skip
    assert found.needs == ((OWNER, (a["bom-ref"],)), (a["bom-ref"], (b["bom-ref"],)))
    assert found.notes == (("dpbuild:sbom:merged", PATH),)


def test_the_subject_is_not_its_own_part_and_refs_are_unique() -> None:
    """As auditwheel writes it: the wheel is the subject and the first component; and one with a ref twice."""
    found = cyclonedx(
        {"type": "library", "bom-ref": "root", "name": "x"},
        {"type": "library", "bom-ref": "a", "name": "libXau"},
        {"type": "library", "bom-ref": "a", "name": "libXau again"},
        {"type": "library", "name": "without"},
        metadata={"component": {"bom-ref": "root", "name": "x", "type": "library"}},
        dependencies=[{"ref": "root", "dependsOn": ["a"]}],
    )
    assert [row["name"] for row in found.components] == ["libXau", "libXau again", "without"]
    assert len({row["bom-ref"] for row in found.components}) == 3
    assert found.needs == ((OWNER, (found.components[1]["bom-ref"],)),)


def test_spdx() -> None:
    found = parsed(
        {
            "spdxVersion": "SPDX-2.3",
            "packages": [
                {"SPDXID": "SPDXRef-x", "name": "x"},
                {
                    "SPDXID": "SPDXRef-z", "name": "zlib", "versionInfo": "1.3", "licenseConcluded": "Zlib",
                    "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:generic/zlib@1.3"}],
                },
                {"SPDXID": "SPDXRef-y", "name": "y", "licenseConcluded": "NOASSERTION"},
            ],
            "relationships": [
                {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-x"},
                {"spdxElementId": "SPDXRef-x", "relationshipType": "CONTAINS", "relatedSpdxElement": "SPDXRef-z"},
                {"spdxElementId": "SPDXRef-z", "relationshipType": "BUILD_TOOL_OF", "relatedSpdxElement": "SPDXRef-y"},
            ],
        }
    )  # fmt: skip
    z, y = found.components
    assert (z["name"], z["version"], z["purl"]) == ("zlib", "1.3", "pkg:generic/zlib@1.3")
    assert z["licenses"] == [{"expression": "Zlib"}]
    assert "licenses" not in y
    assert found.needs == ((OWNER, (z["bom-ref"],)),)


@pytest.mark.parametrize(
    "row",
    [
        {"type": "spaceship", "name": "a"},
        {"type": "library", "name": 3, "version": 4, "purl": None},
        {"hashes": [{"alg": "MD5", "content": "zz" * 16}, {"alg": "CRC", "content": "00"}, 7]},
        {"licenses": {"license": "MIT"}, "components": [3, None]},
        {"licenses": [{"expression": "MIT"}, {"license": {"name": "mine"}}]},
    ],
)
def test_what_is_wrong_in_it_does_not_come_over(row: dict[str, Any]) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": cyclonedx(row).components}
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"{}", b"\xff", b'{"bomFormat": "CycloneDX", "metadata": 3}', b"[" * 100_000,
        b'{"spdxVersion": "SPDX-3.0"}', b'{"spdxVersion": "SPDX-2.3", "packages": [{}]}', None,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_noted(data: bytes | None) -> None:
    assert read(PATH, data, OWNER) == Embedded(notes=(("dpbuild:sbom:unreadable", PATH),))


def test_nesting_ends() -> None:
    row: dict[str, Any] = {"name": "a"}
    for _ in range(50):
        row = {"name": "a", "components": [row]}
    depth, here = 0, cyclonedx(row).components[0]
    while "components" in here:
        depth, here = depth + 1, here["components"][0]
    assert depth == 8
