"""Pushing to a real registry: with and without a password, again, under several tags, from a base in the same one."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.network, pytest.mark.registry]


def login(folder: Path, registry: str, user: str, password: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(folder)}


def test_passwords(dpbuild: Callable, locked_registry: str, example: Callable[[str], Path], tmp_path: Path) -> None:
    project = example("hello")
    tag = f"{locked_registry}/locked/hello:1"
    wrong = dpbuild(
        "build", project, "-t", tag, "--push", check=False, env=login(tmp_path / "w", locked_registry, "ann", "wr0ng")
    )
    assert wrong.status == 91
    assert wrong.out == ""
    assert len(re.findall("^error: ", wrong.err, re.MULTILINE)) == 1
    assert locked_registry in wrong.err
    assert "wr0ng" not in wrong.err
    none = dpbuild("build", project, "-t", tag, "--push", check=False, env={"DOCKER_CONFIG": str(tmp_path / "none")})
    assert none.status == 91
    right = dpbuild("build", project, "-t", tag, "--push", env=login(tmp_path / "r", locked_registry, "ann", "s3cret"))
    assert right.out.startswith(f"{locked_registry}/locked/hello@sha256:")
    # The same registry as a base: credentials serve reading too.
    again = dpbuild("inspect", right.out.strip(), "--json", env=login(tmp_path / "r", locked_registry, "ann", "s3cret"))
    assert json.loads(again.out)["facts"]["version"] == "3.13.5"


def test_again_and_under_other_names(dpbuild: Callable, registry: str, example: Callable[[str], Path]) -> None:
    project = example("hello")
    names = [f"{registry}/again/hello:1", f"{registry}/again/hello:latest", f"{registry}/again/other:1"]
    tags = [part for name in names for part in ("-t", name)]
    first = dpbuild("build", project, *tags, "--push")
    second = dpbuild("build", project, *tags, "--push")
    assert first.out == second.out
    assert " 0.0 MB sent" in second.err
    # What other projects have in the registry is mounted from there.
    moved = re.findall(r"([\d.]+) MB sent, ([\d.]+) MB were there", first.err)[-1]
    assert sum(map(float, moved)) > 20


def test_a_base_in_the_same_registry_is_mounted(
    dpbuild: Callable, registry: str, example: Callable[[str], Path]
) -> None:
    base = dpbuild("build", example("web"), "-t", f"{registry}/mount/base:1", "--push").out.strip()
    project = example("data").parent / "app"
    project.mkdir()
    (project / "main.py").write_text("print('mounted')\n")
    (project / "pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\n')
    done = dpbuild(
        "build", project, "--base", base, "-t", f"{registry}/mount/app:1", "--push", "--platform", "linux/amd64"
    )
    sent = float(re.findall(r"([\d.]+) MB sent", done.err)[-1])
    there = float(re.findall(r"([\d.]+) MB were there", done.err)[-1])
    assert sent < 1
    assert there > 25


def test_another_project_mounts_the_layers_that_it_shares(
    dpbuild: Callable, registry: str, example: Callable[[str], Path]
) -> None:
    """The registry has them in the first one's repository; no base and no tag leads there."""
    first = example("web")
    dpbuild("build", first, "-t", f"{registry}/shared/one:1", "--push", "--platform", "linux/amd64")
    main = next(row for row in first.rglob("*.py") if row.name != "setup.py")
    main.write_text(main.read_text() + "# another project\n")
    done = dpbuild("build", first, "-t", f"{registry}/shared/two:1", "--push", "--platform", "linux/amd64")
    sent = float(re.findall(r"([\d.]+) MB sent", done.err)[-1])
    there = float(re.findall(r"([\d.]+) MB were there", done.err)[-1])
    assert sent < 1.5
    assert there > 25
