"""What goes to stdout and stderr, what is written, and how little ``--help`` loads."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import click
import pytest
from bench import DEMO, Bench, files

from dpbuild.cli.main import VERBS

DIGEST = "sha256:[0-9a-f]{64}"
HEAVY = (
    "urllib3", "requests", "docker", "packaging.pylock", "tomlkit", "pysequoia", "zlib_ng", "ssl", "asyncio",
    "dpbuild.pipeline", "dpbuild.adapters.registry.transport", "dpbuild.adapters.uv",
)  # fmt: skip


def digest_of(path: Path) -> str:
    return str(json.loads((path / "index.json").read_text())["manifests"][0]["digest"])


# stdout and stderr


@pytest.mark.network
def test_stdout_is_one_line_and_every_verb_takes_it(bench: Bench) -> None:
    done = bench.build("-t", "example.org/app:1", check=True)
    assert re.fullmatch(rf"oci:{re.escape(str(bench.output))}@{DIGEST}\n", done.out)
    assert done.out.strip().endswith(digest_of(bench.output))
    seen = bench.run("inspect", done.out.strip(), "--json", "--platform", "linux/amd64", check=True)
    assert json.loads(seen.out)["manifest"]["digest"] == digest_of(bench.output)
    assert digest_of(bench.output) in done.err
    assert "\r" not in done.err
    assert "\x1b" not in done.err


@pytest.mark.network
def test_the_default_output_is_in_the_project_and_no_part_of_the_app(bench: Bench) -> None:
    first = bench.run("build", bench.project, check=True)
    assert first.out.startswith(f"oci:{bench.project}/.dpbuild/image@sha256:")
    assert bench.run("build", bench.project, check=True).out == first.out


@pytest.mark.network
@pytest.mark.parametrize("app", ["copy", "wheel"])
def test_outputs_in_the_project_are_no_part_of_the_app(bench: Bench, app: str) -> None:
    """Neither of what is copied or built, nor of whether the checkout is clean: the second build is the first."""
    if app == "wheel":
        bench.configure('entrypoint = ["-m", "app"]')
        system = '[build-system]\nrequires = []\nbuild-backend = "maker"\nbackend-path = ["."]\n'
        (bench.project / "pyproject.toml").write_text(system + (bench.project / "pyproject.toml").read_text())
        (bench.project / "maker.py").write_text(MAKER)
    git = ["git", "-C", str(bench.project), "-c", "user.name=a", "-c", "user.email=a@b.example"]
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "one")):
        if subprocess.run([*git, *words], check=False, capture_output=True).returncode:
            pytest.skip("git does not work here")
    (bench.project / "dist").mkdir()
    words = ("-o", bench.project / "dist/image", "-o", bench.project / "image.tar", "--metadata-file",
             bench.project / "metadata.json")  # fmt: skip
    first = bench.run("build", bench.project, *words, check=True)
    again = bench.run("build", bench.project, *words, check=True)
    assert again.out == first.out
    assert "nothing has changed since the last build" in again.err
    (bench.project / "main.py").write_text("print('other')\n")
    for name in (".image.tar.abcdefgh.new", ".metadata.json.new", ".pylock.dpbuild.toml.x1y2z3ab"):
        (bench.project / name).write_text("left by a run that was killed")
    other = bench.run("build", bench.project, *words, "--epoch", "5", check=True)
    with tarfile.open(bench.project / "image.tar") as tar:
        assert max(member.size for member in tar) < 20_000_000
    for name in (".image.tar.abcdefgh.new", ".metadata.json.new", ".pylock.dpbuild.toml.x1y2z3ab"):
        (bench.project / name).unlink(missing_ok=True)
    (bench.project / "main.py").write_text("print('another')\n")
    bench.run("build", bench.project, *words, "--epoch", "5", check=True)
    (bench.project / "main.py").write_text("print('other')\n")
    clean = bench.run("build", bench.project, *words, "--epoch", "5", check=True)
    assert clean.out == other.out


# Its wheel says which files it was shown.
MAKER = """
import base64, hashlib, os, zipfile
def build_wheel(folder, *_):
    names = sorted(os.path.join(top, name) for top, _, rows in os.walk(".") for name in rows)
    files = {
        "app.py": f"SEEN = {[row for row in names if 'pycache' not in row]!r}\\ndef main(): print(SEEN)\\n",
        "app-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: app\\nVersion: 1\\nRequires-Dist: demo\\n",
        "app-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "app-1.dist-info/entry_points.txt": "[console_scripts]\\napp = app:main\\n",
    }
    rows = []
    with zipfile.ZipFile(f"{folder}/app-1-py3-none-any.whl", "w") as out:
        for name, text in files.items():
            out.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={digest},{len(text)}\\n")
        out.writestr("app-1.dist-info/RECORD", "".join([*rows, "app-1.dist-info/RECORD,,\\n"]))
    return "app-1-py3-none-any.whl"
"""


@pytest.mark.network
def test_quiet_says_nothing_but_errors(bench: Bench) -> None:
    bench.lock()
    done = bench.build("-q", check=True)
    assert done.err == ""
    assert done.out.count("\n") == 1
    failed = bench.build("--quiet", "--base", "compose:debian99")
    assert failed.status == 20
    assert failed.err.startswith("error: ")
    assert failed.out == ""


@pytest.mark.network
def test_progress_as_json(bench: Bench) -> None:
    done = bench.build("--progress", "json", check=True)
    rows = [json.loads(line) for line in done.err.splitlines()]
    assert {row["event"] for row in rows} == {"start", "done", "note", "result"}
    started = [row["step"] for row in rows if row["event"] == "start"]
    assert sorted(started) == sorted(row["step"] for row in rows if row["event"] == "done")
    assert all(isinstance(row["seconds"], float) for row in rows if row["event"] == "done")
    assert any(digest_of(bench.output) in row["text"] for row in rows if row["event"] == "result")


@pytest.mark.network
def test_metadata_file(bench: Bench) -> None:
    path = bench.tmp / "metadata.json"
    archive = bench.tmp / "image.tar"
    done = bench.build("-o", archive, "-t", "example.org/app:1", "--metadata-file", path, check=True)
    metadata = json.loads(path.read_text())
    assert metadata["digest"] == digest_of(bench.output)
    (image,) = metadata["images"]
    manifest = (bench.output / "blobs/sha256" / image["digest"][7:]).read_bytes()
    assert image["size"] == len(manifest)
    assert image["mediaType"] == json.loads(manifest)["mediaType"]
    assert [row["kind"] for row in metadata["outputs"]] == ["oci", "oci-archive"]
    assert metadata["outputs"][0]["reference"] == done.out.strip()
    for row in metadata["outputs"]:
        assert row["digest"] == metadata["digest"]
        assert row["platforms"] == ["linux/amd64"]
        assert row["tags"] == ["example.org/app:1"]
    assert files(bench.tmp) & {".metadata.json.new"} == set()


def test_metadata_files_that_cannot_be_are_said_at_once(bare: Bench) -> None:
    bare.fails(80, "--metadata-file", "--metadata-file", bare.tmp / "nowhere" / "x.json", hint="make the folder")
    bare.fails(80, "--metadata-file", "--metadata-file", bare.project / "main.py" / "x.json")
    assert not bare.index.requests


# what is written


@pytest.mark.network
def test_a_layout_is_replaced_and_old_blobs_go(bench: Bench) -> None:
    first = bench.build("--no-evidence", check=True).out
    before = {path.name for path in (bench.output / "blobs/sha256").iterdir()}
    (bench.project / "main.py").write_text("print('other')\n")
    second = bench.build("--no-evidence", check=True).out
    after = {path.name for path in (bench.output / "blobs/sha256").iterdir()}
    assert first != second
    assert len(before - after) == len(after - before) == 3, "the app's layer, config and manifest"
    referred = {digest_of(bench.output)[7:]}
    manifest = json.loads((bench.output / "blobs/sha256" / digest_of(bench.output)[7:]).read_text())
    referred |= {row["digest"][7:] for row in (manifest["config"], *manifest["layers"])}
    assert after == referred
    bench.build("--base", "compose:debian99")
    assert digest_of(bench.output) in second, "a build that fails leaves the image that was there"


@pytest.mark.network
def test_an_archive_has_the_same_bytes_twice(bench: Bench) -> None:
    one, two = bench.tmp / "one.tar", bench.tmp / "two.tar"
    done = bench.run("build", bench.project, "-o", one, check=True)
    assert re.fullmatch(rf"oci-archive:{re.escape(str(one))}@{DIGEST}\n", done.out)
    bench.run("build", bench.project, "-o", two, check=True)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.network
def test_a_second_build_asks_nobody(bench: Bench) -> None:
    first = bench.build(check=True)
    bench.index.requests.clear()
    again = bench.build("--offline", check=True)
    assert again.out == first.out
    assert bench.index.requests == []


@pytest.mark.network
def test_a_clean_checkout_stays_clean_of_what_dpbuild_writes(bench: Bench) -> None:
    """The default output lies in the project; were it to count, the second build would be another image."""
    git = ["git", "-C", str(bench.project), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "one")):
        if subprocess.run([*git, *words], check=False, capture_output=True).returncode:
            pytest.skip("git does not work here")
    first = bench.run("build", bench.project, check=True)
    assert "SOURCE_DATE_EPOCH" not in first.err
    assert bench.run("build", bench.project, check=True).out == first.out
    subprocess.run([*git, "add", "-A"], check=True)
    staged = subprocess.run([*git, "diff", "--cached", "--name-only"], check=True, capture_output=True, text=True)
    assert staged.stdout.split() == ["pylock.dpbuild.toml"]
    # A folder that is named belongs to who named it.
    named = bench.project / ".dpbuild" / "image"
    shutil.rmtree(bench.project / ".dpbuild")
    bench.run("build", bench.project, "-o", named, check=True)
    assert os.listdir(bench.project / ".dpbuild") == ["image"]
    bench.run("build", bench.project, check=True)
    assert sorted(os.listdir(bench.project / ".dpbuild")) == [".gitignore", "image"]


# help


def verbs() -> list[tuple[str, click.Command]]:
    return [(name, importlib.import_module(f"dpbuild.cli.{name}").command) for name in VERBS]


@pytest.mark.parametrize(("name", "command"), verbs())
def test_help_lists_every_option(name: str, command: click.Command) -> None:
    done = subprocess.run([sys.executable, "-m", "dpbuild", name, "--help"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    for option in command.params:
        if not isinstance(option, click.Option):
            continue
        for word in option.opts:
            assert re.search(rf"(^|[ ,]){re.escape(word)}\b", done.stdout, re.MULTILINE), word
        assert option.help, option.name
        assert str(option.envvar).startswith("DPBUILD_"), option.name


def test_the_flags_of_the_design_are_there() -> None:
    words = {word for option in dict(verbs())["build"].params for word in option.opts}
    assert words >= {
        "-t", "--tag", "--push", "--load", "-o", "--output", "--platform", "--base", "--locked", "--frozen", "--builder",
        "--epoch", "--metadata-file", "--expect-digest", "--progress", "--plain-http", "--cache-dir", "--offline", "-q", "-v",
    }  # fmt: skip


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([name, "--help"] for name in VERBS)], ids=" ".join)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom dpbuild.cli.main import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as done:\n    assert not done.code\n"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.network
def test_a_build_that_finds_all_loads_no_client(bench: Bench) -> None:
    """Neither a registry's nor an engine's."""
    bench.configure('app = "none"', 'entrypoint = ["-m", "this"]', dependencies=())
    bench.build(check=True)
    bench.configure(f'base = "oci:{bench.output}"', 'entrypoint = ["main.py"]')
    bench.run("build", bench.project, check=True)
    code = (
        "import sys\nfrom dpbuild.cli.main import main\n"
        f"try:\n    main(['build', {str(bench.project)!r}, '-q'])\nexcept SystemExit as done:\n    assert not done.code\n"
        "print(sorted(set(sys.modules) & {'urllib3', 'requests', 'docker', 'pysequoia'}), file=sys.stderr)"
    )
    done = bench_python(bench, code)
    assert done.stderr.strip() == "[]", done.stderr


def bench_python(bench: Bench, code: str) -> "subprocess.CompletedProcess[str]":
    import os

    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **bench.environment},
    )


# errors


@pytest.mark.network
def test_tracebacks_are_shown_when_asked_for(bench: Bench) -> None:
    for words, env in ((["-v"], {}), (["--verbose"], {}), ([], {"DPBUILD_VERBOSE": "1"})):
        done = bench.build("--base", "compose:debian99", *words, env=env)
        assert done.status == 20
        assert "Traceback" in done.err
        assert done.err.count("error: ") == 1


def test_a_reader_that_goes_away_is_no_error(bare: Bench) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -m dpbuild build --help | head -c 1', sys.executable],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_the_demo_wheel_is_what_the_index_serves(bare: Bench) -> None:
    assert bare.index.files == {DEMO[0]: DEMO[1]}
