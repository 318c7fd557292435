"""Bad input: its exit code, one clear error, and nothing left behind."""

import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from bench import DEMO, Bench, files
from factories.image import make_image
from factories.wheel import make_wheel


def test_the_bench_itself_builds(bench: Bench, dpbuild: Callable) -> None:
    """In a process of its own too, which is what all the others stand for."""
    done = bench.build()
    assert done.status == 0, done.err
    assert re.fullmatch(rf"oci:{bench.tmp}/output@sha256:[0-9a-f]{{64}}\n", done.out)
    real = dpbuild("build", bench.project, "-o", bench.output, env=bench.environment)
    assert real.out == done.out
    failed = dpbuild("build", bench.project, "--base", "compose:debian99", env=bench.environment, check=False)
    assert (failed.status, failed.out) == (20, "")
    assert failed.err.startswith("error: ")


# bases


@pytest.mark.registry
def test_unknown_base(bare: Bench, registry: str) -> None:
    said = bare.fails(92, "nothing/here", "--base", f"{registry}/nothing/here:1")
    assert "127.0.0.1" in said


def test_what_the_project_lacks_is_told_at_once_and_first(bare: Bench) -> None:
    """Before a base is asked for: this one cannot be had."""
    bare.configure(
        'extras = ["gone"]',
        'groups = ["gone"]',
        'files = [{from = "gone/", to = "/etc/gone"}, {from = "../up", to = "/etc/up"}, {from = "main.py", to = "/x"}]',
        'ca-certificates = ["gone.pem"]',
    )
    said = bare.fails(10, "5 problems in the configuration", "--base", "127.0.0.1:9/no/registry:1")
    for line, what in (
        (9, "the project has no extra 'gone' (it has: none)"),
        (10, "there is no dependency group 'gone' (there are: none)"),
        (11, "files: gone/ does not exist"),
        (11, "files: ../up is not inside the project"),
        (12, "ca-certificates: gone.pem does not exist"),
    ):
        assert f"  pyproject.toml:{line}: {what}\n" in said


def test_a_script_that_nothing_can_install_is_told_first(bare: Bench) -> None:
    bare.configure('script = "serv"', "[project.scripts]", 'serve = "main:run"', dependencies=())
    bare.fails(
        10, "script = 'serv': no wheel and no", "--base", "127.0.0.1:9/no/registry:1", hint="did you mean 'serve'"
    )
    # What is required may bring it.
    bare.configure('script = "serv"', "[project.scripts]", 'serve = "main:run"')
    bare.fails(90, "cannot reach", "--base", "127.0.0.1:9/no/registry:1")


def test_unreachable_registry(bare: Bench) -> None:
    bare.fails(
        90, r"cannot reach 127\.0\.0\.1:9", "--base", "127.0.0.1:9/no/registry:1", hint="check the host, its port"
    )


@pytest.mark.registry
@pytest.mark.parametrize("login", [None, "ann:wrong"], ids=["no password", "wrong password"])
def test_a_registry_that_wants_another_password(bare: Bench, locked_registry: str, login: str | None) -> None:
    import base64
    import json

    config = bare.tmp / "docker"
    config.mkdir()
    auths = {} if login is None else {locked_registry: {"auth": base64.b64encode(login.encode()).decode()}}
    (config / "config.json").write_text(json.dumps({"auths": auths}))
    environment = {"DOCKER_CONFIG": str(config), "HOME": str(bare.tmp), "XDG_RUNTIME_DIR": "", "REGISTRY_AUTH_FILE": ""}
    said = bare.fails(91, re.escape(locked_registry), "--base", f"{locked_registry}/a/b:1", env=environment, hint=".")
    assert "wrong" not in said.replace("wrong password", "")


def test_base_without_python(bare: Bench) -> None:
    image = make_image(bare.tmp / "base", {"etc/passwd": "root:x:0:0::/:\n"})
    bare.fails(20, "[Pp]ython", "--base", f"oci:{image.path}")


def test_platform_not_in_the_index(bare: Bench) -> None:
    image = make_image(bare.tmp / "base", {"etc/passwd": "root:x:0:0::/:\n"})
    said = bare.fails(20, "linux/s390x", "--base", f"oci:{image.path}", "--platform", "linux/s390x")
    assert "linux/amd64" in said


def test_unknown_suite(bare: Bench) -> None:
    bare.fails(20, "debian99", "--base", "compose:debian99")


@pytest.mark.parametrize("damage", ["missing", "changed", "truncated", "no index"])
def test_a_base_layout_that_is_damaged(bare: Bench, damage: str) -> None:
    image = make_image(bare.tmp / "base", {"usr/bin/python3.13": b"x" * 5000, "etc/passwd": "root:x:0:0::/:\n"})
    layer = image.blob(image.layers[0])
    match damage:
        case "missing":
            layer.unlink()
        case "changed":
            layer.write_bytes(layer.read_bytes()[:-1] + b"!")
        case "truncated":
            layer.write_bytes(layer.read_bytes()[:-40])
        case _:
            (image.path / "index.json").unlink()
    code, message = (92, "missing|lacks") if damage in ("missing", "no index") else (20, "damaged|should have")
    bare.fails(code, message, "--base", f"oci:{image.path}")
    assert layer.name not in {row.name for row in (bare.cache / "blobs/sha256").iterdir()}


def test_no_such_base_folder(bare: Bench) -> None:
    bare.fails(92, "nowhere", "--base", f"oci:{bare.tmp}/nowhere")


# requirements


def test_no_wheel_for_the_target(bench: Bench) -> None:
    bench.index.add(make_wheel("native", "1.0", "cp39-cp39-win_amd64"))
    bench.configure(dependencies=("native",))
    bench.fails(52, "native")


def test_only_an_sdist(bench: Bench) -> None:
    bench.index.add_sdist("sourceonly", "1.0")
    bench.configure(dependencies=("sourceonly",))
    bench.fails(52, "sourceonly", "--builder", "none")


def test_no_such_project(bench: Bench) -> None:
    bench.configure(dependencies=("no-such-project",))
    bench.fails(41, "no-such-project")


def test_requirements_that_contradict(bench: Bench) -> None:
    bench.configure(dependencies=("demo>=1", "demo<1"))
    bench.fails(41, "demo")


def test_a_download_that_is_not_what_was_locked(bench: Bench) -> None:
    bench.lock()
    bench.index.corrupt[DEMO[0]] = DEMO[1][:-1] + b"x"
    bench.fails(51, r"demo-1\.0-py3-none-any\.whl is not the file that was locked", hint="other bytes")
    bench.index.corrupt.clear()
    assert bench.build().status == 0


def test_a_changed_hash_in_the_lock(bench: Bench) -> None:
    bench.lock()
    lock = bench.project / "pylock.dpbuild.toml"
    text = lock.read_text()
    digest = re.search(r'sha256 = "([0-9a-f]{64})"', text)
    assert digest
    lock.write_text(text.replace(digest[1], "0" * 64))
    bench.fails(51, "is not the file that was locked", "--locked")


def test_an_index_that_is_gone(bench: Bench) -> None:
    bench.lock()
    bench.index.files.clear()
    bench.fails(50, "404", "--locked", hint="dpbuild lock")


def test_an_index_that_wants_a_password(bench: Bench) -> None:
    bench.lock()
    bench.index.login = ("ann", "s3cret")
    said = bench.fails(50, "401", "--locked", hint="credentials")
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "text", [b"", b"lock-version = ", b'lock-version = "9.0"', b"\0", b"[[packages]]\nname = 1\n", b"\xff\xfe"]
)
def test_a_lock_that_is_none(bare: Bench, text: bytes) -> None:
    lock = bare.project / "pylock.dpbuild.toml"
    lock.write_bytes(text)
    for flag in ("--locked", "--frozen"):
        done = bare.build(flag)
        bare.left(done, done.status, "pylock", files(bare.project))
        assert done.status in (40, 42)
    assert lock.read_bytes() == text


def test_a_lock_that_must_be_fresh_and_need_not(bare: Bench) -> None:
    before = files(bare.project)
    bare.left(bare.build("--locked", "--frozen"), 2, "--frozen", before)


def changed(wheel: tuple[str, bytes], change: Callable[[zipfile.ZipFile, zipfile.ZipFile], None]) -> tuple[str, bytes]:
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(wheel[1])) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info, old.read(info))
        change(old, new)
    return wheel[0], out.getvalue()


def replaced(name: str, data: bytes) -> tuple[str, bytes]:
    """The wheel with other bytes in one of its files and the same RECORD."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(DEMO[1])) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info, data if info.filename == name else old.read(info))
    return DEMO[0], out.getvalue()


def patched(old: bytes, new: bytes, *, count: int = 1) -> tuple[str, bytes]:
    """The wheel with some of its bytes replaced, the first so many times."""
    assert DEMO[1].count(old) >= count
    return DEMO[0], DEMO[1].replace(old, new, count)


# projects


def test_a_folder_with_no_project_in_it(bare: Bench) -> None:
    """A folder that was mistyped became an image of the base's Python alone."""
    for path in bare.project.iterdir():
        path.unlink()
    bare.fails(10, "there is no project here: no pyproject.toml, no dpbuild.toml, no requirements", hint='app = "none"')
    (bare.project / "notes.txt").write_text("")
    bare.fails(10, "there is no project here")
    assert not bare.cache.exists()
    # Past this, it is the base that cannot be read.
    base = ("--base", "127.0.0.1:9/no/registry:1")
    for name, text in (("dpbuild.toml", 'app = "none"\n'), ("pyproject.toml", ""), ("requirements.txt", "x\n")):
        (bare.project / name).write_text(text)
        bare.fails(90, "cannot reach", *base)
        (bare.project / name).unlink()
    bare.fails(10, "there is no project here", *base)


# files of the project


@pytest.mark.parametrize("name", [".wh.main.py", "d/.wh..wh..opq", ".wh.d/x.txt"])
def test_a_project_with_a_file_that_would_delete_others(bare: Bench, name: str) -> None:
    """Found before a base is read, so nothing is left at all."""
    path = bare.project / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    bare.fails(10, f"the file {re.escape(name)} would delete files in the image", hint=re.escape(f'["{name}"]'))


def test_a_folder_of_files_with_one_that_would_delete_others(bench: Bench) -> None:
    """``/etc/passwd`` of the base would be gone."""
    (bench.project / "conf").mkdir()
    (bench.project / "conf/.wh.passwd").write_text("")
    bench.configure('files = [{from = "conf/", to = "/etc/"}]', 'exclude = ["conf"]')
    bench.fails(10, r"conf/\.wh\.passwd would delete files in the image, where it is /etc/\.wh\.passwd", lock=True)


def test_a_file_where_the_app_has_one(bench: Bench) -> None:
    (bench.project / "x.txt").write_text("x")
    bench.configure('files = [{from = "x.txt", to = "/app/main.py"}]')
    said = bench.fails(61, r"the app and files \(from = 'x.txt'\) both have the file /app/main\.py", lock=True)
    assert "another place" in said


RECORD = "demo-1.0.dist-info/RECORD"


@pytest.mark.parametrize(
    ("wheel", "message"),
    [
        (changed(DEMO, lambda _old, new: new.writestr("../evil.py", b"")), "leaves its folder"),
        (changed(DEMO, lambda _old, new: new.writestr("/evil.py", b"")), "evil"),
        (changed(DEMO, lambda _old, new: new.writestr("a/../../evil.py", b"")), "leaves its folder"),
        (changed(DEMO, lambda _old, new: new.writestr(".wh.demo.py", b"")), r"\.wh\."),
        (changed(DEMO, lambda _old, new: new.writestr("extra.py", b"")), "RECORD does not list"),
        (replaced("demo.py", b"y = 2\n" * 200), "demo.py"),
        (replaced("demo.py", b"x"), "demo.py"),
        (replaced(RECORD, b"demo-1.0.dist-info/RECORD,,\n"), "RECORD"),
        (replaced(RECORD, b"\xff\xfe"), "RECORD"),
        ((DEMO[0], DEMO[1] + b"trailing"), "behind its end record"),
        ((DEMO[0], b"prefix" + DEMO[1]), "demo-1.0"),
        (patched(b"demo.py", b"demo.px"), "demo-1.0"),
        (patched(b"x\x9c" if b"x\x9c" in DEMO[1] else b"PK\x03\x04", b"PK\x03\x05"), "demo-1.0"),
    ],
    ids=[
        "parent", "absolute", "parent below", "whiteout", "record lacks", "record hash", "record size", "record empty",
        "record bytes", "trailing", "prefix", "local name", "local signature",
    ],
)  # fmt: skip
def test_broken_wheels(bench: Bench, wheel: tuple[str, bytes], message: str) -> None:
    bench.index.files[DEMO[0]] = wheel[1]
    bench.fails(53, message, lock=True)


@pytest.mark.parametrize("size", [0, 10, 500, len(DEMO[1]) - 1])
def test_truncated_wheels(bench: Bench, size: int) -> None:
    """Locked as they are, so that no hash gives them away; METADATA comes from the whole one."""
    bench.lock()
    whole, broken = DEMO[1], DEMO[1][:size]
    lock = bench.project / "pylock.dpbuild.toml"
    import hashlib

    text = lock.read_text().replace(hashlib.sha256(whole).hexdigest(), hashlib.sha256(broken).hexdigest())
    lock.write_text(re.sub(rf"size = {len(whole)}\b", f"size = {size}", text))
    bench.index.corrupt[DEMO[0]] = broken
    bench.fails(53, "demo-1.0", "--locked")


# configuration


def test_unknown_key(bare: Bench) -> None:
    bare.configure('entrypont = ["-m", "main"]')
    bare.fails(10, "entrypont.*entrypoint")
    assert not bare.cache.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("[tool.dpbuild\n", "pyproject.toml"), ("[tool.dpbuild]\nbase = 1\n", "base"), ("\xff", "UTF-8")],
    ids=["toml", "type", "encoding"],
)
def test_configurations_that_are_none(bare: Bench, text: str, message: str) -> None:
    (bare.project / "pyproject.toml").write_bytes(text.encode("latin-1"))
    bare.fails(10, message)


def test_two_configurations(bare: Bench) -> None:
    (bare.project / "dpbuild.toml").write_text("bytecode = true\n")
    bare.fails(10, "dpbuild.toml")


def test_links_out_of_the_project(bench: Bench) -> None:
    (bench.project / "passwd").symlink_to("/etc/passwd")
    bench.fails(10, "passwd leads out of the project", hint="exclude", lock=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--push"], "--push needs a tag"),
        (["--nope"], "no such option.*--nope"),
        (["--lockd"], "--locked"),
        (["--epoch", "-1"], "--epoch"),
        (["--builder", "lxc"], "bubblewrap"),
        (["--platform", "x86"], "x86"),
        (["--expect-digest", "sha256:12"], "sha256:12"),
        (["--tag", "Not A Tag"], "Not"),
        (["--base", "compose:"], "compose"),
        (["-o", "image.tar.gz"], r"\.tar"),
        (["another", "folder"], "extra argument"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_usage(bare: Bench, words: list[str], message: str) -> None:
    bare.fails(2, message, *words)
    assert not bare.index.requests


@pytest.mark.parametrize(
    "words", [["biuld"], [], ["build", "/nowhere/at/all"], ["inspect"], ["lock", "--check", "--upgrade"]]
)
def test_usage_of_verbs(bare: Bench, words: list[str]) -> None:
    done = bare.run(*words)
    assert done.status == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    assert not words or done.err.startswith("error: ")
    assert not bare.cache.exists()


def test_missing_lock(bare: Bench) -> None:
    for flag in ("--locked", "--frozen"):
        bare.fails(42, "there is no lock", flag, hint="dpbuild lock")
    assert not bare.index.requests


def test_stale_lock(bench: Bench) -> None:
    bench.lock()
    assert bench.run("lock", bench.project, "--check").status == 0
    bench.configure(dependencies=("demo>=1", "other"))
    before = (bench.project / "pylock.dpbuild.toml").read_bytes()
    said = bench.fails(42, "the lock is stale", "--locked", hint="dpbuild lock")
    assert "other" in said
    check = bench.run("lock", bench.project, "--check")
    assert (check.status, check.out) == (42, "")
    assert (bench.project / "pylock.dpbuild.toml").read_bytes() == before


# outputs


def test_a_folder_that_is_not_empty(bench: Bench) -> None:
    full = bench.tmp / "full"
    full.mkdir()
    (full / "precious").write_text("keep")
    bench.fails(80, "neither empty nor an OCI layout", output=full, hint="choose another folder")
    assert (full / "precious").read_text() == "keep"


def test_read_only_output(bench: Bench) -> None:
    bench.fails(80, "cannot write the output", output=Path("/proc/self/fdinfo/dpbuild"), hint="choose another")


def test_a_project_that_cannot_be_written_is_built_all_the_same(bench: Bench) -> None:
    place = bench.tmp / "read-only"
    place.mkdir()
    mounted = [["mount", "--bind", bench.project, place], ["mount", "-o", "remount,bind,ro", place]]
    for words in mounted:
        if subprocess.run(words, capture_output=True, check=False).returncode:
            subprocess.run(["umount", str(place)], capture_output=True, check=False)
            pytest.skip("nothing can be mounted here")
    try:
        done = bench.run("build", place, "-o", bench.output)
        default = bench.run("build", place)
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert done.status == 0, done.err
    assert "read-only" in done.err
    assert default.status == 80
    assert "Read-only file system" in default.err
    assert files(bench.project) == {"main.py", "pyproject.toml"}


def test_digest_drift(bench: Bench) -> None:
    bench.fails(81, "expected was sha256:0000", "--expect-digest", "sha256:" + "0" * 64, lock=True)


# the store


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system of this size."""
    place = tmp_path / "small"

    def mount(size: str) -> Path:
        place.mkdir(mode=0o700)
        words = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(place)]
        if subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("a small file system cannot be mounted here")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("place", [".", "blobs/sha256"])
def test_a_store_that_others_may_write(bare: Bench, place: str) -> None:
    (bare.cache / "blobs/sha256").mkdir(parents=True)
    (bare.cache / place).chmod(0o777)
    bare.fails(110, "may be written by other users", "--base", "compose:debian13", hint="chmod go-w")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_store_of_another_user(bare: Bench) -> None:
    bare.cache.mkdir(mode=0o700)
    os.chown(bare.cache, 65534, 65534)
    bare.fails(110, "belongs to another user", hint="--cache-dir")
    assert not any(bare.cache.iterdir())


def test_disk_full_while_the_base_is_read(bench: Bench, small: Callable[[str], Path]) -> None:
    place = small("3m")
    done = bench.build(env={"DPBUILD_CACHE_DIR": str(place)})
    bench.left(done, 110, "error: the disk is full", files(bench.project), hint="--cache-dir")
    assert not list((place / "tmp").iterdir())


@pytest.mark.parametrize(("locked", "left"), [(False, 0), (False, 24), (True, 0), (True, 8), (True, 16)])
def test_disk_full_later_on(bench: Bench, small: Callable[[str], Path], locked: bool, left: int) -> None:
    """While it is locked, a wheel is downloaded, a layer is written; ``left`` is in kB."""
    if locked:
        bench.lock()
    place = small("64m")
    shutil.copytree(bench.cache, place, dirs_exist_ok=True)
    place.chmod(0o700)
    (place / "tmp").mkdir(exist_ok=True)
    found = os.statvfs(place)
    (place / "filler").write_bytes(bytes(max(found.f_bavail * found.f_frsize - (left << 10), 0)))
    done = bench.build(env={"DPBUILD_CACHE_DIR": str(place)})
    bench.left(done, 110, "error: the disk is full", files(bench.project), hint="--cache-dir", lock=True)
    assert not list((place / "tmp").iterdir())
    (place / "filler").unlink()
    assert bench.build(env={"DPBUILD_CACHE_DIR": str(place)}).status == 0


def test_disk_full_at_the_output(bench: Bench, small: Callable[[str], Path]) -> None:
    place = small("5m")
    for name in ("image", "image.tar"):
        done = bench.run("build", bench.project, "-o", place / name)
        assert done.status == 110, done.err
        assert "error: the disk is full" in done.err
        assert not any(place.iterdir())
    subprocess.run(["mount", "-o", "remount,size=400m", str(place)], check=True)
    for name in ("image", "image.tar"):
        assert bench.run("build", bench.project, "-o", place / name).status == 0
        assert {path.name for path in place.iterdir()} <= {"image", "image.tar"}


def test_a_damaged_wheel_in_the_store_is_fetched_again(bench: Bench) -> None:
    assert bench.build().status == 0
    (blob,) = [path for path in (bench.cache / "blobs/sha256").iterdir() if path.read_bytes() == DEMO[1]]
    blob.chmod(stat.S_IRUSR | stat.S_IWUSR)
    blob.write_bytes(DEMO[1][:-1] + b"x")
    for name in ("images", "layers", "wheels"):
        shutil.rmtree(bench.cache / "maps" / name)
    shutil.rmtree(bench.tmp / "output")
    done = bench.build()
    assert done.status == 0, done.err
    assert "a damaged entry of the store was discarded" in done.err
    assert blob.read_bytes() == DEMO[1]


def test_a_damaged_layer_in_the_store_is_made_again(bench: Bench) -> None:
    first = bench.build()
    made = max((bench.cache / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    made.write_bytes(made.read_bytes()[:-1] + b"x")
    shutil.rmtree(bench.tmp / "output")
    again = bench.build()
    assert again.status == 0, again.err
    assert "a damaged entry of the store was discarded" in again.err
    assert again.out == first.out


def test_a_damaged_wheel_that_cannot_be_had_again(bench: Bench) -> None:
    assert bench.build().status == 0
    (blob,) = [path for path in (bench.cache / "blobs/sha256").iterdir() if path.read_bytes() == DEMO[1]]
    blob.write_bytes(b"x")
    for name in ("images", "layers", "wheels"):
        shutil.rmtree(bench.cache / "maps" / name)
    shutil.rmtree(bench.tmp / "output")
    done = bench.build("--offline")
    assert done.status == 110, done.err
    assert "damaged and cannot be had again" in done.err


def test_interrupted_builds_leave_nothing(bench: Bench) -> None:
    import signal
    import time

    bench.configure("# again")
    environment = {**os.environ, "DPBUILD_CACHE_DIR": str(bench.cache), "UV_DEFAULT_INDEX": bench.index.simple}
    process = subprocess.Popen(
        [sys.executable, "-m", "dpbuild", "build", str(bench.project), "-o", str(bench.tmp / "output")],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while not bench.index.requests and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("it was finished before it could be interrupted")
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert not list((bench.cache / "tmp").iterdir())
    assert bench.build().status == 0


def test_nothing_is_fetched_for_a_project_that_cannot_start(bench: Bench) -> None:
    (bench.project / "other.py").write_text("print('other')\n")
    said = bench.fails(10, "there are several scripts to start: main.py, other.py")
    assert "entrypoint" in said
    assert bench.index.requests == []


def test_nothing_is_built_for_a_project_with_several_scripts(bench: Bench) -> None:
    system = '[build-system]\nrequires = ["demo"]\nbuild-backend = "backend"\n'
    bench.configure(system + '[project.scripts]\napi = "app:api"\nworker = "app:worker"')
    said = bench.fails(10, r"there are several \[project\.scripts\] entries to start: api, worker")
    assert "entrypoint" in said
    assert bench.index.requests == []


def test_disk_full_while_the_app_becomes_a_wheel(bench: Bench, small: Callable[[str], Path]) -> None:
    """Its backend lies in the project, so that nothing but the project's own files has to be copied."""
    (bench.project / "backend.py").write_text("def build_wheel(*_):\n    raise SystemExit(3)\n")
    (bench.project / "big.py").write_text("x = 1\n" * 100_000)
    text = (bench.project / "pyproject.toml").read_text()
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (bench.project / "pyproject.toml").write_text(system + text)
    bench.lock()
    said = bench.fails(54, "build backend backend ended with status 3")
    assert ".log" in said
    place = small("160m")
    shutil.copytree(bench.cache, place, dirs_exist_ok=True, symlinks=True)
    place.chmod(0o700)
    found = os.statvfs(place)
    (place / "filler").write_bytes(bytes(max(found.f_bavail * found.f_frsize - (64 << 10), 0)))
    done = bench.build(env={"DPBUILD_CACHE_DIR": str(place)})
    bench.left(done, 110, "error: the disk is full", files(bench.project), hint="--cache-dir")
    assert not list((place / "tmp").iterdir())
