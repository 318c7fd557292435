"""``dpbuild base compose``: every destination, several platforms, and what it refuses."""

import json
from pathlib import Path

import pytest
from bench import Bench

BOTH = "linux/amd64,linux/arm64"


def index_of(path: Path) -> list[dict[str, object]]:
    return list(json.loads((path / "index.json").read_text())["manifests"])


@pytest.mark.network
def test_one_platform_is_the_base_that_builds_use(bench: Bench) -> None:
    done = bench.run("base", "compose", "debian13:nonroot", "--platform", "linux/amd64", "-o", bench.output, check=True)
    (row,) = index_of(bench.output)
    assert done.out == f"oci:{bench.output}@{row['digest']}\n"
    assert row["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    named = json.loads(bench.run("inspect", "compose:debian13:nonroot", "--json", check=True).out)
    assert named["manifest"]["digest"] == row["digest"]
    # A build on what was written is the build on what was composed.
    bench.run("build", bench.project, "-o", bench.tmp / "a", check=True)
    bench.configure(f'base = "oci:{bench.output}"', 'platforms = ["linux/amd64"]')
    bench.run("build", bench.project, "-o", bench.tmp / "b", check=True)
    layers = [
        json.loads((path / "blobs/sha256" / str(index_of(path)[0]["digest"])[7:]).read_text())["layers"]
        for path in (bench.tmp / "a", bench.tmp / "b")
    ]
    # The app's own layer has the configuration in it, which names the base.
    assert layers[0][:-1] == layers[1][:-1]
    assert len(layers[0]) == len(layers[1]) == 50


@pytest.mark.network
@pytest.mark.registry
def test_several_platforms_and_all_destinations_at_once(bench: Bench, registry: str) -> None:
    archive = bench.tmp / "base.tar"
    words = ["base", "compose", "debian13:nonroot", "--platform", BOTH]
    done = bench.run(
        *words, "-t", f"{registry}/base:1", "-t", f"{registry}/other:2", "--push", "-o", bench.output, "-o", archive,
        check=True,
    )  # fmt: skip
    rows = index_of(bench.output)
    assert {row["mediaType"] for row in rows} == {"application/vnd.oci.image.index.v1+json"}
    (digest,) = {row["digest"] for row in rows}
    assert done.out == f"{registry}/base@{digest}\n"
    index = json.loads((bench.output / "blobs/sha256" / str(digest)[7:]).read_text())
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    for reference in (f"{registry}/base:1", f"{registry}/other:2", f"oci:{bench.output}", f"oci-archive:{archive}"):
        for platform, machine in (("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")):
            shown = bench.run("inspect", reference, "--platform", platform, "--json", check=True)
            assert json.loads(shown.out)["facts"]["machine"] == machine
            assert json.loads(shown.out)["root"]["digest"] == digest
    # What Debian did not change is the same the next day, and nothing moves.
    again = bench.run(*words, "-t", f"{registry}/base:1", "--push", check=True)
    assert again.out == done.out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["debian13"], 2, "nothing says where"),
        (["debian13", "--push"], 2, "--push needs a tag"),
        (["debian13:nonroot@20260101", "-o", "out"], 2, "a timestamp belongs to the suite"),
        (["debian13@now", "-o", "out"], 2, "not a timestamp"),
        (["debian13", "-o", "out", "--platform", "amd64"], 2, "not a platform"),
        (["debian13", "-o", "out.tar.gz"], 2, "not compressed as a whole"),
        (["debian13", "-o", "out", "-t", "A B"], 2, "not an image reference"),
        (["debian99", "-o", "out"], 20, "debian99 cannot be composed"),
        (["debian13:tiny", "-o", "out"], 20, "no variant tiny"),
        (["debian13", "-o", "out", "--platform", "linux/s390x"], 20, "cannot be composed for linux/s390x"),
        (["debian13@20200101", "-o", "out"], 20, "no mirror with snapshots of Debian is known"),
        (["debian13", "-o", "/proc/self/fdinfo/base"], 80, "cannot write the output"),
    ],
)
def test_what_it_refuses(
    bare: Bench, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(bare.tmp)
    done = bare.run("base", "compose", *words)
    assert (done.status, done.out) == (code, ""), done.err
    assert message in done.err
    assert not (bare.tmp / "out").exists()


def test_the_snapshots_address_comes_from_the_environment(bare: Bench) -> None:
    words = ["base", "compose", "debian13@20200101", "-o", bare.output]
    closed = bare.run(*words, env={"DPBUILD_DEBIAN_SNAPSHOT": "http://127.0.0.1:9/{archive}/{timestamp}/"})
    assert closed.status == 20
    assert "http://127.0.0.1:9/debian/20200101T000000Z/dists/trixie/InRelease" in closed.err
    half = bare.run(*words, env={"DPBUILD_DEBIAN_SNAPSHOT": "http://127.0.0.1:9/{archive}/"})
    assert half.status == 20
    assert "lacks {timestamp}" in half.err


def test_the_snapshots_address_comes_from_the_configuration(bare: Bench) -> None:
    bare.configure('base = "compose:debian13@20200101"', 'debian.snapshot = "http://127.0.0.1:9/{timestamp}/{archive}"')
    bare.fails(20, "http://127.0.0.1:9/20200101T000000Z/debian/dists/trixie/InRelease")
    bare.configure('base = "compose:debian13@20200101"', 'debian.snapshot = "http://127.0.0.1:9/"')
    bare.fails(10, "must be an address with {archive} and {timestamp} in it")
