"""``dpbuild inspect``: the table, the JSON and its schema, and its exit codes."""

import json
import platform
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from factories.image import MadeImage, make_image
from factories.python_image import PATH, Notes, debian

from dpbuild.adapters.source.layout import LayoutSource
from dpbuild.adapters.store import DiskStore
from dpbuild.cli.inspect import as_json, command, render
from dpbuild.errors import BaseImageError, NotFound, UsageError
from dpbuild.model.base import Base
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import LayoutReference
from dpbuild.stages.base import read_base


@pytest.fixture
def image(tmp_path: Path) -> MadeImage:
    config: dict[str, object] = {"Env": [PATH], "Entrypoint": ["/usr/bin/python3.13"], "User": "65532"}
    return make_image(tmp_path / "image", *debian(), config=config, annotations={"a": "b"})


@pytest.fixture
def base(image: MadeImage, tmp_path: Path) -> Base:
    reference = LayoutReference(path=str(image.path))
    store = DiskStore(tmp_path / "store")
    return read_base(reference, LayoutSource(reference), Platform("linux", "amd64"), store, Notes())


def test_the_json(base: Base) -> None:
    """Its schema is held by the functional tests, on every family of bases."""
    value = json.loads(json.dumps(as_json(base)))

    assert value["facts"]["libc"]["version"] == [2, 41]
    assert value["facts"]["missing_modules"] is None
    assert value["annotations"] == {"a": "b"}


def test_the_table(base: Base, image: MadeImage) -> None:
    lines = render(base).splitlines()
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines if not line.startswith(" "))

    assert rows["digest"] == str(image.root.digest)
    assert rows["python"] == "cpython 3.13.5"
    assert rows["libc"] == "glibc 2.41 (/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2)"
    assert rows["libstdc++"] == "GLIBCXX_3.4.33"
    assert rows["distributor"] == "debian 13"
    assert rows["user"] == "65532"
    assert rows["system packages"] == "2"
    assert rows["the version elsewhere"] == "package python3.13-minimal: 3.13.5-2"
    assert rows["missing modules"] == "not known for this version"
    assert rows["package databases"] == "/var/lib/dpkg/status.d (dpkg)"
    assert rows["shells"] == "none"
    assert rows["runs as"] == "65532:0, home /"
    assert f"{'':23}/usr/lib/python3/dist-packages" in lines


def run(*arguments: object, cache: Path) -> Any:
    options = ["--cache-dir", str(cache), "-q"]
    return CliRunner(catch_exceptions=False).invoke(command, [*map(str, arguments), *options])


def test_the_verb(image: MadeImage, tmp_path: Path) -> None:
    done = run(f"oci:{image.path}", "--json", "--platform", "linux/amd64", cache=tmp_path / "cache")

    assert done.exit_code == 0
    assert json.loads(done.stdout)["manifest"]["digest"] == str(image.root.digest)
    table = run(f"oci:{image.path}", "--platform", "linux/amd64", cache=tmp_path / "cache")
    assert table.stdout.startswith("reference ")


def test_the_platform_is_the_hosts_unless_it_is_given(image: MadeImage, tmp_path: Path) -> None:
    if platform.machine() == "x86_64":
        assert run(f"oci:{image.path}", cache=tmp_path / "cache").exit_code == 0
    with pytest.raises(BaseImageError, match="no image for linux/arm64"):
        run(f"oci:{image.path}", "--platform", "linux/arm64", cache=tmp_path / "cache")


def test_what_cannot_be_asked(image: MadeImage, tmp_path: Path) -> None:
    for arguments in (
        ("A//b",),
        (f"oci:{image.path}", "--platform", "amd64"),
        (f"oci:{image.path}", "--platform", "a/b,c/d"),
    ):
        with pytest.raises(UsageError):
            run(*arguments, cache=tmp_path / "cache")
    with pytest.raises(NotFound):
        run(f"oci:{tmp_path}/nothing", cache=tmp_path / "cache")
