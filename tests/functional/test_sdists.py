"""Sdists and apps with C code, built in a real builder; and everything that such a build may do wrong."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench, files
from factories.image import make_image
from factories.python_image import debian
from factories.sdist import make_sdist, native_files
from factories.wheel import make_wheel
from forge import BUILD_LOCK, runs, wheels
from machinery import Ran


def test_an_sdist_with_c_code(forge: Bench, sdist: Callable[..., None], dpbuild: Callable[..., Ran]) -> None:
    sdist("fast", 'entrypoint = ["-c", "import fast; print(fast.answer())"]', answer="6 * 7")
    done = forge.build()
    assert done.status == 0, done.err
    assert "builds run in bubblewrap" in done.err
    ((name, data),) = wheels(forge)
    assert re.fullmatch(r"fast-1\.0-cp313-cp313-manylinux_2_17_x86_64\.whl", name)
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        assert b"Tag: cp313-cp313-manylinux_2_17_x86_64\n" in wheel.read("fast-1.0.dist-info/WHEEL")
        module = wheel.read("fast.cpython-313-x86_64-linux-gnu.so")
    assert b"/build/source" not in module
    assert runs(forge, dpbuild) == "42\n"
    # The second time, and locked, nothing is built, and the lock stays as it is whatever else is in it.
    text = (forge.project / BUILD_LOCK).read_text() + "# mine\n"
    (forge.project / BUILD_LOCK).write_text(text)
    again = forge.build("--locked", "-o", forge.tmp / "again")
    assert again.status == 0, again.err
    assert again.out.partition("@")[2] == done.out.partition("@")[2]
    assert "building" not in again.err
    assert (forge.project / BUILD_LOCK).read_text() == text
    lock = (forge.project / BUILD_LOCK).read_text()
    assert re.findall(r'^name = "(sdist-.*)"$', lock, re.MULTILINE) == ["sdist-fast-1-0"]
    assert '\n    "gcc 4:' in lock


def test_an_app_with_c_code_beside_pure_dependencies(forge: Bench) -> None:
    texts = native_files("speedy", answer="7")
    forge.configure("[tool.dpbuild.env]", 'X = "1"')
    text = (forge.project / "pyproject.toml").read_text().partition("[tool.dpbuild]")[2]
    (forge.project / "main.py").unlink()
    for name, content in texts.items():
        path = forge.project / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    with (forge.project / "pyproject.toml").open("a") as file:
        file.write(f'dependencies = ["demo"]\n[tool.dpbuild]\nentrypoint = ["-c", "import speedy, demo"]{text}')
    done = forge.build()
    assert done.status == 0, done.err
    assert [name for name, _ in wheels(forge)] == ["speedy-1.0-cp313-cp313-manylinux_2_17_x86_64.whl"]
    assert files(forge.project) >= {BUILD_LOCK}
    assert not list(forge.project.glob("*.so"))


def test_metadata_that_only_a_build_knows(forge: Bench, dpbuild: Callable[..., Ran]) -> None:
    """Locking asks the backend in the builder, and locks what it is built with, too."""
    texts = native_files("dyn", metadata="Requires-Dist: demo\n", project=False)
    forge.index.add(make_sdist("dyn", "1.0", texts, dynamic=True))
    forge.configure(dependencies=("dyn",))
    forge.lock("--builder", "bubblewrap")
    lock = (forge.project / "pylock.dpbuild.toml").read_text()
    assert re.findall(r'^name = "([a-z]+)"$', lock, re.MULTILINE) == ["demo", "dyn"]
    done = forge.build("--locked")
    assert done.status == 0, done.err
    assert runs(forge, dpbuild) == "hello\n"


WRONG = {
    "fails": (54, "raise SystemExit('the reason')", "the reason"),
    "network": (
        54,
        "import socket; said(lambda: socket.create_connection(('index.example', 443)))",
        "wants the network",
    ),
    "outside": (54, "said(lambda: open('/usr/lib/mine', 'w'))", "writes outside of its folder, to /usr/lib/mine"),
    "nothing": (54, "globals()['compiled'] = lambda: sys.exit('no wheel today')", "no wheel today"),
    "version": (
        54,
        "raise SystemExit('LookupError: setuptools-scm was unable to detect version for /build/source.')",
        r"asks git for the version[\s\S]+ hint: .*SETUPTOOLS_SCM_PRETEND_VERSION = ",
    ),
    "gone": (
        54,
        "raise SystemExit(\"ModuleNotFoundError: No module named 'distutils'\")",
        r"asks for distutils, which Python 3\.12 and later do not have[\s\S]+ hint: a newer version may",
    ),
    "full": (110, "raise SystemExit('No space left on device')", "the disk is full"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_build_that_goes_wrong(kind: str, forge: Bench, sdist: Callable[..., None]) -> None:
    code, before, said = WRONG[kind]
    sdist("bad", before=before)
    text = forge.fails(code, said, lock=True)
    log = re.search(r"^   at: (.*/logs/bad-1\.0\.log)$", text, re.MULTILINE)
    assert log is not None, text
    assert Path(log[1]).read_text().strip()


def test_a_build_that_hangs(forge: Bench, sdist: Callable[..., None]) -> None:
    before = "print('going to sleep', flush=True); import time; time.sleep(600)"
    sdist("slow", '[tool.dpbuild.builder]\ntimeout = "2s"', before=before)
    text = forge.fails(54, "was stopped because it took longer than 2 s", lock=True, hint="timeout")
    assert "  | going to sleep" in text


def test_a_build_that_wants_too_much_memory(forge: Bench, sdist: Callable[..., None]) -> None:
    sdist("big", '[tool.dpbuild.builder]\nmemory = "512m"', before="said(lambda: bytearray(1 << 30))")
    forge.fails(54, "MemoryError", lock=True)


def test_environment_of_the_configuration(forge: Bench, sdist: Callable[..., None]) -> None:
    before = "import os; raise SystemExit(os.environ['ANSWER'] + os.environ['HOME'] + str(os.getuid()))"
    sdist("envy", '[tool.dpbuild.builder.env]\nANSWER = "forty-two "\nHOME = "/root"', before=before)
    forge.fails(54, "forty-two /build/home65532", lock=True)


def test_a_package_that_the_suite_lacks(forge: Bench, sdist: Callable[..., None]) -> None:
    sdist("lacks", '[tool.dpbuild.builder]\npackages = ["libnone-of-that-dev"]')
    forge.fails(10, "there is no libnone-of-that-dev in the suite", lock=True)


def test_a_backend_that_nothing_has(forge: Bench) -> None:
    forge.index.add_sdist("sourceonly", "1.0")
    forge.configure(dependencies=("sourceonly",))
    forge.fails(41, "no-such-backend", lock=True)


def test_no_builder_is_allowed(forge: Bench, sdist: Callable[..., None]) -> None:
    sdist("fast", 'no-binary = ["fast"]')
    forge.fails(52, "fast 1.0 .*built", "--builder", "none")


def test_a_wheel_is_taken_before_an_sdist(forge: Bench, sdist: Callable[..., None]) -> None:
    sdist("both", before="raise SystemExit(1)")
    forge.index.add(make_wheel("both", "1.0"))
    assert forge.build().status == 0
    assert list(wheels(forge)) == []


def test_a_lock_of_build_requirements_that_is_missing(forge: Bench, sdist: Callable[..., None]) -> None:
    sdist("fast")
    assert forge.build().status == 0
    (forge.project / BUILD_LOCK).unlink()
    done: Ran = forge.build("--locked")
    assert done.status == 42
    assert "there is no lock of the builder" in done.err


def test_a_builder_whose_packages_are_gone(forge: Bench, sdist: Callable[..., None]) -> None:
    """The hint does what it says: what the builder is made of is chosen anew, as the build requirements are."""
    sdist("fast")
    assert forge.build().status == 0
    shutil.rmtree(forge.output)
    path = forge.project / BUILD_LOCK
    before = path.read_text()
    gone = re.sub(r'"hostname \S+ [0-9a-f]{64}"', f'"hostname 0.1 {"0" * 64}"', before)
    assert gone != before
    path.write_text(gone)
    shutil.rmtree(forge.cache / "maps/app")
    forge.fails(20, "the mirror does not have hostname 0.1", hint="dpbuild lock --upgrade ")
    forge.lock("--upgrade")
    assert path.read_text() == before
    assert forge.build("--locked").status == 0


def test_the_fetch_step_of_a_recipe_has_network_and_the_build_has_not(forge: Bench, sdist: Callable[..., None]) -> None:
    page = f"{forge.index.simple}late/"
    script = f"import urllib.request as u; open('fetched', 'wb').write(u.urlopen({page!r}).read())"
    command = json.dumps(["python3", "-c", script])
    port = page.split(":")[2].partition("/")[0]
    before = (
        "import pathlib, socket; print('it has', len(pathlib.Path('fetched').read_bytes()) > 50, flush=True); "
        f"said(lambda: socket.create_connection(('127.0.0.1', {port}))); sys.exit('reached')"
    )
    sdist("late", f"[tool.dpbuild.recipes.late.build]\nfetch = [{command}]", before=before)
    text = forge.fails(54, "ended with status", lock=True)
    assert "  | it has True" in text
    assert "ConnectionRefusedError" in text
    assert "reached" not in text


def test_a_fetch_step_that_fails(forge: Bench, sdist: Callable[..., None]) -> None:
    sdist("late", '[tool.dpbuild.recipes.late.build]\nfetch = [["sh", "-c", "echo cannot; exit 3"]]')
    text = forge.fails(54, "late 1.0: it ended its fetch step sh -c echo cannot; exit 3 with status 3", lock=True)
    assert "  | cannot" in text


@pytest.mark.parametrize("kind", ["bubblewrap", pytest.param("docker", marks=(pytest.mark.docker, pytest.mark.slow))])
def test_interrupting_leaves_nothing(kind: str, forge: Bench, sdist: Callable[..., None]) -> None:
    name = f"sleepy{kind}"
    sdist(name, before=f"import time; open('{name}-began', 'w'); time.sleep(600)")
    forge.lock()
    before = files(forge.project)
    process = subprocess.Popen(
        [sys.executable, "-m", "dpbuild", "build", forge.project, "-o", forge.output, "--builder", kind],
        env={**os.environ, **forge.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for _ in range(1200):
        if under_way(forge, name, kind) or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b""), err
    assert list(forge.cache.glob("tmp/*")) == []
    assert files(forge.project) == before
    assert not forge.output.exists()
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, check=True, text=True).stdout
    assert f"{name}-began" not in running
    assert str(forge.cache) not in running
    assert kind != "docker" or not containers()


def under_way(bench: Bench, name: str, kind: str) -> bool:
    """Whether the build has begun; in an engine its folder is not to be seen."""
    if kind == "bubblewrap":
        return any(bench.cache.glob(f"tmp/*/source/{name}-began"))
    return bool(containers("running"))


def containers(*states: str) -> set[str]:
    """The containers of builds, by their commands."""
    rows = [f"--filter=status={state}" for state in states]
    command = ["docker", "ps", "-a", "--no-trunc", "--format", "{{.ID}} {{json .Command}}", *rows]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    return {line.split()[0] for line in lines if "/build/source" in line}


MATCHING = {
    "3.12 for 3.13": (("3.12.4",), {}, "its Python is 3.12, the base's is 3.13"),
    "a newer libc": (("3.13.5", "2.42"), {}, r"its C library is glibc 2\.42, the base's is glibc 2\.41"),
}


@pytest.mark.parametrize("name", MATCHING)
def test_a_builder_that_does_not_match_is_refused(name: str, forge: Bench, sdist: Callable[..., None]) -> None:
    versions, more, said = MATCHING[name]
    image = make_image(forge.tmp / "image", *debian(*versions, **more))
    sdist("fast", f'[tool.dpbuild.builder]\nimage = "oci:{image.path}"', before="raise SystemExit('it ran')")
    text = forge.fails(30, f"the builder does not match: {said}", lock=True, hint="name another image")
    assert "building" not in text


def test_an_image_as_builder_is_locked_by_digest(forge: Bench) -> None:
    """The base itself will do for what needs no compiler."""
    texts = native_files("pure")
    texts["tools/maker.py"] = texts["tools/maker.py"].replace("files = [compiled()]", "files = ['pure.c']")
    forge.index.add(make_sdist("pure", "1.0", texts))
    forge.configure('[tool.dpbuild.builder]\nimage = "compose:debian13:nonroot"', dependencies=("pure",))
    done = forge.build()
    assert done.status == 0, done.err
    lock = (forge.project / BUILD_LOCK).read_text()
    row = re.search(r'image = "compose:debian13:nonroot"\nimage-digest = "sha256:([0-9a-f]{64})"\n', lock)
    assert row is not None, lock
    assert "pins" not in lock
    again = forge.build("--locked")
    assert (again.status, again.out) == (0, done.out), again.err
    forge.configure('[tool.dpbuild.builder]\nimage = "compose:debian13:latest"', dependencies=("pure",))
    other = forge.build("--locked")
    assert other.status == 42, other.err


def chained(forge: Bench, name: str, *requires: str, before: str = "pass", dynamic: bool = False) -> None:
    """An sdist whose build requires others, which come as sdists alone."""
    texts = native_files(name, before=before, project=not dynamic)
    rows = ", ".join(f'"{row}"' for row in requires)
    texts["pyproject.toml"] = texts["pyproject.toml"].replace("requires = []", f"requires = [{rows}]")
    assert rows in texts["pyproject.toml"]
    forge.index.add(make_sdist(name, "1.0", texts, dynamic=dynamic))


@pytest.mark.parametrize("dynamic", [False, True])
def test_build_requirements_that_are_sdists_themselves(
    dynamic: bool, forge: Bench, dpbuild: Callable[..., Ran]
) -> None:
    """Each is built like any other sdist, and the second lock has all of them with what they are built with."""
    chained(forge, "inner", before="import hashlib", dynamic=dynamic)
    chained(forge, "outer", "inner", before="import inner; assert inner.answer() == 42", dynamic=dynamic)
    chained(forge, "fast", "outer>=1", before="import outer; assert outer.answer() == 42", dynamic=dynamic)
    forge.configure('entrypoint = ["-c", "import fast; print(fast.answer())"]', dependencies=("fast",))
    forge.lock("--builder", "bubblewrap")
    lock = (forge.project / BUILD_LOCK).read_text()
    units = re.findall(r'^name = "(sdist-.*)"$', lock, re.MULTILINE)
    assert units == ["sdist-fast-1-0", "sdist-inner-1-0", "sdist-outer-1-0"]
    assert lock.count("\nsdist = {") == 2
    done = forge.build("--locked")
    assert done.status == 0, done.err
    assert (forge.project / BUILD_LOCK).read_text() == lock
    if not dynamic:
        assert [name.partition("-")[0] for name, _ in sorted(wheels(forge))] == ["fast", "inner", "outer"]
    assert runs(forge, dpbuild) == "42\n"
    # Only the outermost is in the image, and the next build builds nothing.
    again = forge.build("--locked", "-o", forge.tmp / "again")
    assert "building" not in again.err
    assert again.out.partition("@")[2] == done.out.partition("@")[2]


@pytest.mark.parametrize("dynamic", [False, True])
def test_build_requirements_that_need_each_other(dynamic: bool, forge: Bench) -> None:
    chained(forge, "one", "two", dynamic=dynamic)
    chained(forge, "two", "one", dynamic=dynamic)
    forge.configure(dependencies=("one",))
    forge.fails(52, r"one 1\.0 is needed to build itself: one 1\.0 -> two 1\.0 -> one 1\.0", lock=not dynamic)


def test_an_sdist_that_is_a_zip(forge: Bench, dpbuild: Callable[..., Ran]) -> None:
    """As sdists were until PEP 625; the wheel is the same one."""
    forge.index.add(make_sdist("old", "1.0", native_files("old"), zipped=True))
    forge.configure('entrypoint = ["-c", "import old; print(old.answer())"]', dependencies=("old",))
    done = forge.build()
    assert done.status == 0, done.err
    assert runs(forge, dpbuild) == "42\n"
    assert "old-1.0.zip" in (forge.project / "pylock.dpbuild.toml").read_text()


def test_a_zip_that_leaves_its_folder(forge: Bench) -> None:
    name, data = make_sdist("old", "1.0", {**native_files("old"), "../../../evil.py": "x"}, zipped=True)
    forge.index.add((name, data))
    forge.configure(dependencies=("old",))
    forge.fails(50, r"old-1\.0\.zip cannot be read: the name .* leaves its folder", lock=False)
    assert not list(forge.tmp.rglob("evil.py"))


AUDITED = {
    "plain": ((), "manylinux_2_17_x86_64"),
    "zlib": (("-Wl,--no-as-needed", "-lz"), "linux_x86_64"),
    "threads": (("-lm", "-lpthread", "-ldl"), "manylinux_2_17_x86_64"),
    "plusplus": (("-Wl,--no-as-needed", "-lstdc++"), "manylinux_2_41_x86_64"),
}


@pytest.mark.parametrize("kind", AUDITED)
def test_tags_claim_no_more_than_auditwheel_finds(kind: str, forge: Bench, sdist: Callable[..., None]) -> None:
    """A tag may be stricter than auditwheel's verdict, which knows what of zlib and libstdc++ every system has."""
    libraries, tag = AUDITED[kind]
    sdist("audited", libraries=libraries)
    done = forge.build()
    assert done.status == 0, done.err
    ((name, data),) = wheels(forge)
    assert name == f"audited-1.0-cp313-cp313-{tag}.whl"
    (forge.tmp / name).write_bytes(data)
    shown = subprocess.run(
        [Path(sys.executable).parent / "auditwheel", "show", forge.tmp / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    found = re.search(r"following platform tag:\s+\"(?:many)?linux_(?:2_(\d+)_)?x86_64\"", shown.stdout)
    assert found is not None, shown.stdout
    ours = re.search(r"manylinux_2_(\d+)_", tag)
    if ours is not None:
        assert found[1] is not None, shown.stdout
        assert int(found[1]) <= int(ours[1]), shown.stdout
