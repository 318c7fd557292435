"""What a newcomer types first: the message says how it is said."""

import shutil
import tarfile
from pathlib import Path

import pytest
from bench import Bench
from factories.image import docker_archive, make_image

# Nobody listens there, so whatever a registry is asked for ends at once.
NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}
PASSWD = {"etc/passwd": "root:x:0:0::/:\n"}


def made(folder: Path) -> None:
    """A layout, archives of both kinds, a project that was built, and files that are no image."""
    make_image(folder / "image", PASSWD)
    make_image(folder / "api" / ".dpbuild" / "image", PASSWD)
    with tarfile.open(folder / "image.tar", "w") as tar:
        tar.add(folder / "image", ".")
    docker_archive(folder / "saved.tar", PASSWD)
    (folder / "report.py").write_text("print()\n")
    with tarfile.open(folder / "other.tar", "w") as tar:
        tar.add(folder / "report.py", "report.py")
    shutil.copytree(folder / "image", folder / ".dpbuild" / "image")


@pytest.mark.parametrize("verb", ["inspect", "check", "sbom", "run", "rebuild", "verify", "diff"])
@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("image", "folder", "oci:image"),
        (".dpbuild/image", "folder", "oci:.dpbuild/image"),
        (".", "folder", "oci:.dpbuild/image"),
        ("api", "folder", "oci:api/.dpbuild/image"),
        ("image.tar", "file", "oci-archive:image.tar"),
        ("./saved.tar", "file", "docker-archive:./saved.tar"),
    ],
)
def test_an_image_here_is_named(
    bare: Bench, monkeypatch: pytest.MonkeyPatch, verb: str, name: str, kind: str, said: str
) -> None:
    made(bare.tmp)
    monkeypatch.chdir(bare.tmp)
    more = {"diff": [name], "verify": ["--key", "key.pem"]}.get(verb, [])
    done = bare.run(verb, name, *more, env=NOWHERE)
    assert done.status == 2
    assert f"error: {name} is a {kind} here, and such a name means an image in a registry\n" in done.err
    assert f" hint: say {said}\n" in done.err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./report.py", "not an image reference: './report.py', a file that is no image"),
        ("./other.tar", "not an image reference: './other.tar', a file that is no image"),
        ("./nothing", "not an image reference: './nothing'"),
    ],
)
def test_what_is_no_image_is_told_the_forms(bare: Bench, monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    made(bare.tmp)
    monkeypatch.chdir(bare.tmp)
    done = bare.run("inspect", name)
    assert done.status == 2
    assert f"error: {said}\n" in done.err
    assert " hint: an image is registry/repo:tag, docker-daemon:NAME, oci:FOLDER" in done.err


@pytest.mark.parametrize(
    ("name", "said"),
    [("bad-a", "bad-a"), ("mytool:dev", "mytool:dev"), ("acme/api", "acme/api"), ("docker://image", "image")],
)
def test_a_short_name_may_be_an_engines(bare: Bench, monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    """``docker://`` says that the registry is meant, whatever stands here."""
    made(bare.tmp)
    monkeypatch.chdir(bare.tmp)
    done = bare.run("check", name, env=NOWHERE)
    assert done.status == 90, done.err
    assert f"for an image in the engine: docker-daemon:{said}\n" in done.err


def test_options_behind_the_image_are_the_programs(bare: Bench) -> None:
    """As with an engine; who meant it says so by ``--``."""
    said = "note: --import-all goes to the program, since it stands behind REF; options of dpbuild stand before\n"
    assert said in bare.run("run", "oci:nothing", "--import-all").err
    assert "note:" not in bare.run("run", "oci:nothing", "--", "--import-all").err
    assert "note:" not in bare.run("run", "--import-all", "oci:nothing").err


def test_a_name_with_a_host_is_no_engines(bare: Bench) -> None:
    done = bare.run("check", "registry.example/acme/api:1", env=NOWHERE)
    assert done.status == 90
    assert "docker-daemon" not in done.err
