"""``runtime-packages`` through the command line: what is locked, what stays, and what is said when it cannot be had."""

import re
import tomllib
from typing import Any

import pytest
from bench import Bench

pytestmark = pytest.mark.network
# Small, and with a dependency that the base lacks.
WANTED = 'runtime-packages = ["libmagic1t64"]'


def lock(bench: Bench) -> dict[str, Any]:
    return tomllib.loads((bench.project / "pylock.dpbuild.toml").read_text())["tool"]["dpbuild"]


def locked(bench: Bench) -> dict[str, tuple[str, str]]:
    (row,) = [row for row in lock(bench)["runtime-packages"] if row["platform"] == "linux/amd64"]
    return {package["name"]: (package["version"], package["sha256"]) for package in row["packages"]}


def test_locked_with_what_it_depends_on_and_built_again_offline(bench: Bench):
    bench.configure(WANTED)
    first = bench.build(check=True)
    assert set(locked(bench)) == {"libmagic1t64", "libmagic-mgc"}
    again = bench.build("--offline", "--locked", check=True)
    assert again.out == first.out
    assert "fetching" not in again.err
    # Another machine takes the same packages and makes the same bytes.
    other = bench.run(
        "build", bench.project, "-o", bench.tmp / "other", "--locked", env={"DPBUILD_CACHE_DIR": str(bench.tmp / "new")}
    )
    assert other.status == 0, other.err
    assert other.out.rpartition("@")[2] == first.out.rpartition("@")[2]


def test_what_is_locked_stays_until_an_upgrade(bench: Bench):
    bench.configure(WANTED)
    bench.lock()
    path = bench.project / "pylock.dpbuild.toml"
    version, _ = locked(bench)["libmagic-mgc"]
    older = re.sub(r'(name = "libmagic-mgc", version = ")[^"]*', r"\g<1>1:0.1-1", path.read_text())
    path.write_text(older)
    assert bench.lock().out == ""
    assert path.read_text() == older
    assert bench.lock("--upgrade-base").out == f"libmagic-mgc (Debian) 1:0.1-1 -> {version}\n"
    path.write_text(older)
    assert f"libmagic-mgc (Debian) 1:0.1-1 -> {version}\n" in bench.lock("--upgrade").out


def test_a_version_that_the_mirror_does_not_have_any_more(bench: Bench):
    bench.configure(WANTED)
    bench.lock()
    path = bench.project / "pylock.dpbuild.toml"
    text = re.sub(
        r'(name = "libmagic-mgc", version = ")[^"]*(", sha256 = ")[0-9a-f]*',
        rf"\g<1>1:0.1-1\g<2>{'0' * 64}",
        path.read_text(),
    )
    path.write_text(text)
    bench.fails(
        20,
        r"the mirror does not have the Debian package libmagic-mgc 1:0\.1-1 any more",
        "--locked",
        hint="dpbuild lock --upgrade takes what it has now",
    )


def test_a_package_that_the_suite_does_not_have(bench: Bench):
    bench.configure('runtime-packages = ["libmagic1t64", "libmagick1t64"]')
    said = bench.fails(41, r"there is no libmagick1t64 in the suite")
    assert re.search("^ +at: libmagick1t64$", said, re.MULTILINE)


def test_offline_without_the_indices(bench: Bench):
    bench.lock()
    bench.configure(WANTED)
    bench.fails(20, "the packages of trixie are not known, and dpbuild is offline", "--offline")


def test_the_configuration_makes_the_lock_stale(bench: Bench):
    bench.lock()
    bench.configure(WANTED)
    done = bench.run("lock", bench.project, "--check")
    assert done.status == 42
    assert "runtime-packages changed: + libmagic1t64" in done.err


def test_a_package_of_the_base_adds_nothing(bench: Bench):
    bench.configure('runtime-packages = ["libssl3t64", "zlib1g"]')
    bench.build(check=True)
    assert locked(bench) == {}


def test_a_file_of_the_base_is_not_overwritten(bench: Bench):
    bench.configure('runtime-packages = ["python3-minimal"]')
    bench.fails(
        61,
        r"python3-minimal \S+ has the file /usr/bin/python3, which the base compose:debian13:nonroot has too",
        lock=True,
    )
