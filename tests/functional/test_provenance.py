"""The provenance of real builds: complete, valid, and the same bytes every time."""

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import Bench

pytestmark = [pytest.mark.network]

PROVENANCE = "https://slsa.dev/provenance/v1"


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def attached(layout: Path, predicate_type: str = PROVENANCE) -> dict[str, bytes]:
    """Documents of this kind by the digest of their subject."""
    found = {}
    for row in json.loads((layout / "index.json").read_text())["manifests"]:
        if row.get("annotations", {}).get("in-toto.io/predicate-type") == predicate_type:
            manifest = json.loads(blob(layout, row["digest"]))
            assert row["artifactType"] == manifest["artifactType"] == manifest["layers"][0]["mediaType"]
            assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
            assert blob(layout, manifest["config"]["digest"]) == b"{}"
            found[manifest["subject"]["digest"]] = blob(layout, manifest["layers"][0]["digest"])
    return found


def dependencies(data: bytes, role: str) -> list[dict[str, Any]]:
    rows = json.loads(data)["predicate"]["buildDefinition"]["resolvedDependencies"]
    return [row for row in rows if row["annotations"]["role"] == role]


def validate(data: bytes) -> None:
    """Against in-toto's own definitions: unknown fields and wrong types are errors, and so is what must be there."""
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    statement = Statement.copy_from_pb(json_format.Parse(data, Message()))
    statement.validate()
    predicate = json_format.Parse(json.dumps(json.loads(data)["predicate"]), Provenance())
    assert predicate.build_definition.build_type
    assert predicate.build_definition.external_parameters.fields
    assert predicate.run_details.builder.id


def test_every_input_of_a_copied_app(bench: Bench) -> None:
    (bench.project / "conf").mkdir()
    (bench.project / "conf/a.ini").write_text("a = 1\n")
    (bench.project / "pkg").mkdir()
    (bench.project / "pkg/tool.sh").write_text("#!\n")
    (bench.project / "pkg/tool.sh").chmod(0o755)
    (bench.project / "pkg/link.sh").symlink_to("tool.sh")
    bench.configure('files = [{from = "conf/", to = "/etc/acme/"}]', 'exclude = ["conf/"]')
    line = bench.build("--epoch", "5", check=True).out.strip()
    digest = line.rpartition("@")[2]
    (found,) = attached(bench.output).items()
    assert found[0] == digest
    data = found[1]
    validate(data)
    told = json.loads(data)
    assert told["subject"] == [{"name": "app linux/amd64", "digest": {"sha256": digest[7:]}}]
    definition = told["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {
        "app": "copy",
        "epoch": 5,
        "fileTime": 5,
        "platforms": ["linux/amd64"],
        "config": {
            "base": "compose:debian13:nonroot",
            "bytecode": False,
            "exclude": ["conf/"],
            "files": [{"from": "conf/", "to": "/etc/acme/"}],
        },
    }
    (base,) = dependencies(data, "base")
    manifest = json.loads(blob(bench.output, digest))
    assert manifest["annotations"]["org.opencontainers.image.base.digest"] == f"sha256:{base['digest']['sha256']}"
    assert base["uri"] == f"compose:debian13:nonroot@sha256:{base['digest']['sha256']}"
    (lock,) = dependencies(data, "lock")
    text = (bench.project / "pylock.dpbuild.toml").read_bytes()
    assert base64.b64decode(lock["content"]) == text
    assert lock["digest"]["sha256"] == hashlib.sha256(text).hexdigest()
    (wheel,) = dependencies(data, "wheel")
    assert wheel["uri"] == "pkg:pypi/demo@1.0"
    assert wheel["downloadLocation"].startswith(bench.index.url)
    assert wheel["downloadLocation"].endswith("/demo-1.0-py3-none-any.whl")
    assert wheel["annotations"]["platforms"] == ["linux/amd64"]
    sources = {row["name"]: row for row in dependencies(data, "source")}
    assert sources.keys() == {"main.py", "pyproject.toml", "pkg/tool.sh", "pkg/link.sh"}
    assert (
        sources["main.py"]["digest"]["sha256"] == hashlib.sha256((bench.project / "main.py").read_bytes()).hexdigest()
    )
    assert sources["pkg/tool.sh"]["annotations"] == {"role": "source", "executable": True}
    assert sources["pkg/link.sh"]["annotations"] == {"role": "source", "target": "tool.sh"}
    (beside,) = dependencies(data, "file")
    assert (beside["name"], beside["digest"]["sha256"]) == ("/etc/acme/a.ini", hashlib.sha256(b"a = 1\n").hexdigest())
    packages = dependencies(data, "base-package")
    assert len(packages) > 30
    assert all(row["uri"].startswith("pkg:deb/debian/") and len(row["digest"]["sha256"]) == 64 for row in packages)


def test_nothing_of_the_run_is_in_it(bench: Bench, tmp_path: Path) -> None:
    """Another folder, store, zone, index with a password, and tags: the same bytes."""
    bench.build("--epoch", "5", "-t", "registry.example/a:1", check=True)
    one = attached(bench.output)
    other = shutil.copytree(bench.project, tmp_path / "elsewhere" / "again")
    shutil.copytree(bench.cache, tmp_path / "other store")
    (tmp_path / "other store").chmod(0o700)
    env = {"DPBUILD_CACHE_DIR": str(tmp_path / "other store"), "TZ": "Asia/Tokyo", "USER": "somebody"}
    env["UV_DEFAULT_INDEX"] = bench.index.simple.replace("://", "://ann:s3cret@")
    bench.run("build", other, "--epoch", "5", "-o", tmp_path / "second", env=env, check=True)
    assert attached(tmp_path / "second") == one
    (data,) = one.values()
    for word in (str(bench.project), str(tmp_path), "s3cret", "somebody"):
        assert word.encode() not in data


def test_the_commit_is_told_and_not_in_the_image(bench: Bench) -> None:
    def git(*words: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *names, *words], cwd=bench.project, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    bench.lock()
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    first = bench.build("--epoch", "5", check=True).out
    (before,) = attached(bench.output).values()
    assert [row["digest"] for row in dependencies(before, "revision")] == [{"gitCommit": git("rev-parse", "HEAD")}]
    git("commit", "-qm", "two", "--allow-empty")
    (bench.project / "left.txt").write_text("not committed")
    bench.configure('exclude = ["left.txt"]')
    bench.build("--epoch", "5", check=True)
    (dirty,) = attached(bench.output).values()
    assert dependencies(dirty, "revision") == []
    (bench.project / "left.txt").unlink()
    git("checkout", "-q", ".")
    assert bench.build("--epoch", "5", check=True).out == first


def test_without_evidence_there_is_none(bench: Bench) -> None:
    for words, lines in ((("--no-evidence",), ()), ((), ("evidence = false",))):
        bench.configure(*lines)
        bench.build(*words, check=True)
        (row,) = json.loads((bench.output / "index.json").read_text())["manifests"]
        assert "annotations" not in row
        assert "artifactType" not in row


def test_an_index_and_its_platforms_and_a_wheel_app(
    dpbuild: Callable, example: Callable[[str], Path], tmp_path: Path
) -> None:
    project = example("web")
    with (project / "pyproject.toml").open("a") as file:
        file.write('\n[project.urls]\nSource = "https://git.example/web"\n')
        file.write('\n[tool.dpbuild.annotations]\n"org.opencontainers.image.revision" = "abc"\n')
    words = ("--platform", "linux/amd64,linux/arm64", "-o", tmp_path / "both", "--metadata-file", tmp_path / "m.json")
    line = dpbuild("build", project, *words).out.strip()
    found = attached(tmp_path / "both")
    digest = line.rpartition("@")[2]
    index = json.loads(blob(tmp_path / "both", digest))
    platforms = [row["digest"] for row in index["manifests"]]
    assert set(found) == {digest, *platforms}
    told = {
        "org.opencontainers.image.created": "1970-01-01T00:00:00Z",
        "org.opencontainers.image.revision": "abc",
        "org.opencontainers.image.source": "https://git.example/web",
    }
    # A composed base has no index of its own, so there is no digest of it.
    assert index["annotations"] == told
    for row in platforms:
        rows = json.loads(blob(tmp_path / "both", row))["annotations"]
        assert rows == told | {"org.opencontainers.image.base.digest": rows["org.opencontainers.image.base.digest"]}
    for data in found.values():
        validate(data)
    whole = found[digest]
    assert [row["digest"]["sha256"] for row in json.loads(whole)["subject"]] == [
        row[7:] for row in (digest, *platforms)
    ]
    assert [row["annotations"]["platform"] for row in dependencies(whole, "base")] == ["linux/amd64", "linux/arm64"]
    wheels = {row["name"]: row["annotations"]["platforms"] for row in dependencies(whole, "wheel")}
    assert {tuple(row) for row in wheels.values()} == {
        ("linux/amd64", "linux/arm64"), ("linux/amd64",), ("linux/arm64",)
    }  # fmt: skip
    amd64 = {row["name"] for row in dependencies(found[platforms[0]], "wheel")}
    assert amd64 == {name for name, row in wheels.items() if "linux/amd64" in row}
    assert {row["name"].partition("-")[0] for row in dependencies(whole, "build-wheel")} >= {"hatchling", "packaging"}
    assert [row["name"] for row in dependencies(whole, "build-lock")] == ["pylock.dpbuild-build.toml"]
    (builder,) = dependencies(whole, "builder")
    assert builder["annotations"]["platform"] == "linux/amd64"
    (wheel,) = json.loads(whole)["predicate"]["runDetails"]["byproducts"]
    assert wheel["name"] == "web-1.0.0-py3-none-any.whl"
    listed = json.loads((tmp_path / "m.json").read_text())["referrers"]
    assert {row["subject"] for row in listed} >= set(found)
    # It is still one image for every reader, under the name that it was given.
    assert json.loads(dpbuild("inspect", f"oci:{tmp_path / 'both'}", "--json").out)["root"]["digest"] == digest


def test_a_second_lock_is_an_input_only_where_something_is_built(bench: Bench) -> None:
    bench.build(check=True)
    (clean,) = attached(bench.output).values()
    (bench.project / "pylock.dpbuild-build.toml").write_text("left from when an sdist was built\n")
    for flags in ((), ("--locked",)):
        bench.run("cache", "clean", "--only", "facts", check=True)
        bench.build("--epoch", "0", *flags, check=True)
        (found,) = attached(bench.output).values()
        assert dependencies(found, "build-lock") == []
        assert found == clean
