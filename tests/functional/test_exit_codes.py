"""Every exit code, produced through the command line, and what is said with it: error, at and hint.

``TABLE`` has a row for every error of ``errors.py``; the rows of bad input are many more and stand in
``test_bad_input.py``.
"""

import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

import pytest
from bench import DEMO, Bench, files
from factories.image import make_image
from factories.python_image import debian
from factories.wheel import make_wheel
from fakes.registry import fake_registry
from machinery import Ran

from dpbuild import errors

Situation = Callable[[Bench], Ran]


@dataclass(frozen=True)
class Row:
    """What a situation ends with: regular expressions for the whole of a line, "" for no such line.

    ``heavy``: it needs a base that is read; ``left`` are the files that it may leave in the project.
    """

    situation: Situation
    code: int
    error: str
    at: str
    hint: str
    heavy: bool
    left: frozenset[str]


TABLE: list[Row] = []


def ends(
    code: int, error: str, at: str = "", hint: str = "", *, heavy: bool = False, left: tuple[str, ...] = ()
) -> Callable[[Situation], Situation]:
    """Put the situation into the table."""

    def keep(situation: Situation) -> Situation:
        TABLE.append(Row(situation, code, error, at, hint, heavy, frozenset(left)))
        return situation

    return keep


LOCK = "pylock.dpbuild.toml"


@ends(2, "--push needs a tag", hint=r"name one with -t, or in tags of \[tool\.dpbuild\]")
def no_tag(bench: Bench) -> Ran:
    return bench.build("--push")


@ends(10, "unknown key 'entrypont'; did you mean 'entrypoint'.*", at=r"pyproject\.toml:9")
def a_typing_error(bench: Bench) -> Ran:
    bench.configure('entrypont = ["-m", "main"]')
    return bench.build()


@ends(20, "there is no Python in the base: .*", at="oci:.*/base", hint="choose a base with Python in it, such as .*")
def a_base_without_python(bench: Bench) -> Ran:
    image = make_image(bench.tmp / "base", {"etc/passwd": "root:x:0:0::/:\n"})
    return bench.build("--base", f"oci:{image.path}")


@ends(30, r"Python 3\.7\.3 is too old; the oldest supported is 3\.8", at=r"/usr/bin/python3\.7")
def a_python_of_2019(bench: Bench) -> Ran:
    image = make_image(bench.tmp / "base", *debian("3.7.3"), config={"Env": ["PYTHON_VERSION=3.7.3"]})
    return bench.build("--base", f"oci:{image.path}")


@ends(40, "the package index refuses the credentials, or wants some", hint=".*netrc.*UV_INDEX_<NAME>_USERNAME.*",
      heavy=True)  # fmt: skip
def an_index_that_wants_a_login(bench: Bench) -> Ran:
    bench.index.login = ("ann", "s3cret")
    return bench.build()


@ends(41, r"the requirements have no solution for .*", heavy=True)
def requirements_that_contradict(bench: Bench) -> Ran:
    bench.configure(dependencies=("demo>=1", "demo<1"))
    return bench.build()


@ends(42, "there is no lock", at=f".*/{LOCK}", hint="run dpbuild lock")
def no_lock(bench: Bench) -> Ran:
    return bench.build("--locked")


@ends(50, r"cannot download demo-1\.0-py3-none-any\.whl: the index answered 404", at="http://127.*/files/demo-1.*whl",
      hint="it was removed from the index, .*; run dpbuild lock", heavy=True, left=(LOCK,))  # fmt: skip
def a_wheel_that_is_gone(bench: Bench) -> Ran:
    bench.lock()
    bench.index.files.clear()
    return bench.build("--locked")


@ends(51, r"demo-1\.0-py3-none-any\.whl is not the file that was locked: expected sha256:.*, got sha256:.*",
      at="http://127.*/files/demo-1.*whl", hint="the index serves other bytes.*", heavy=True, left=(LOCK,))  # fmt: skip
def a_wheel_that_was_changed(bench: Bench) -> Ran:
    bench.lock()
    bench.index.corrupt[DEMO[0]] = DEMO[1][:-1] + b"x"
    return bench.build("--locked")


@ends(52, r"native 1\.0 has no wheel for .*; there is .*", hint="choose a version that has one, or another base",
      heavy=True)  # fmt: skip
def a_wheel_for_another_system(bench: Bench) -> Ran:
    bench.index.add(make_wheel("native", "1.0", "cp39-cp39-win_amd64"))
    bench.configure(dependencies=("native",))
    return bench.build()


@ends(53, r"demo-1\.0-py3-none-any\.whl: there are data behind its end record",
      hint="the wheel is broken, or different tools .*; choose another version", heavy=True, left=(LOCK,))  # fmt: skip
def a_wheel_with_more_in_it(bench: Bench) -> Ran:
    bench.index.files[DEMO[0]] = DEMO[1] + b"trailing"
    return bench.build()


BACKEND = "import sys\ndef build_wheel(*_):\n    sys.exit('nothing works')\n"


@ends(54, "app 1: its build backend maker ended with status 1", at=r".*/logs/app-1\.log",
      hint="the whole log is in that file; .*", heavy=True,
      left=(LOCK, "pylock.dpbuild-build.toml", "maker.py"))  # fmt: skip
def a_backend_that_fails(bench: Bench) -> Ran:
    (bench.project / "maker.py").write_text(BACKEND)
    path = bench.project / "pyproject.toml"
    system = '[build-system]\nrequires = []\nbuild-backend = "maker"\nbackend-path = ["."]\n'
    path.write_text(system + path.read_text())
    return bench.build()


@ends(60, r"the base has demo-0\.9 in /usr/.* without a RECORD, so it cannot be replaced by the locked demo",
      hint="leave it out of the requirements, or choose another base", left=(LOCK,))  # fmt: skip
def a_distribution_of_the_base_that_nobody_lists(bench: Bench) -> Ran:
    info = "usr/local/lib/python3.13/dist-packages/demo-0.9.dist-info/METADATA"
    image = make_image(bench.tmp / "base", *debian(), {info: "Name: demo\n"}, config={"User": "1"})
    return bench.build("--base", f"oci:{image.path}")


@ends(61, r"(demo|other) 1\.0 and (demo|other) 1\.0 both have the file /.*/demo\.py, with different contents",
      hint="leave one of them out, or choose versions that do not collide", heavy=True, left=(LOCK,))  # fmt: skip
def two_wheels_with_one_file(bench: Bench) -> Ran:
    bench.index.add(make_wheel("other", "1.0", files={"demo.py": "y = 2\n"}))
    bench.configure(dependencies=("demo", "other"))
    return bench.build()


@ends(70, "the image for linux/amd64 would not work, so nothing was written:", heavy=True, left=(LOCK,),
      hint="dpbuild explain RULE tells more; .*")  # fmt: skip
def a_module_that_is_not_there(bench: Bench) -> Ran:
    bench.configure('entrypoint = ["-m", "mian"]')
    done = bench.build()
    assert "\n  INT008 " in done.err
    return done


@ends(80, "the output folder is neither empty nor an OCI layout", at=".*/project", hint="choose another folder.*",
      heavy=True, left=(LOCK,))  # fmt: skip
def an_output_that_is_in_use(bench: Bench) -> Ran:
    return bench.run("build", bench.project, "-o", bench.project)


@ends(81, "the image is sha256:[0-9a-f]{64}, expected was sha256:0{64}", heavy=True, left=(LOCK,))
def another_digest(bench: Bench) -> Ran:
    return bench.build("--expect-digest", "sha256:" + "0" * 64)


@ends(90, r"cannot reach 127\.0\.0\.1:9: Connection refused", at="http://127.0.0.1:9/v2/a/b/manifests/1",
      hint="check the host, its port, the network and HTTPS_PROXY")  # fmt: skip
def no_registry(bench: Bench) -> Ran:
    return bench.build("--base", "127.0.0.1:9/a/b:1")


@ends(91, r"cannot get a token for 127.*: .* answered 401 .*; no credentials were found for it", at="http://127.*",
      hint="docker login 127.*")  # fmt: skip
def a_registry_that_wants_a_login(bench: Bench) -> Ran:
    with fake_registry(auth="token", users={"ann": "s3cret"}) as registry:
        return bench.build("--base", f"{registry.host}/a/b:1")


@ends(92, r"cannot read 127.*/a/b:1: .* answered 404 \(MANIFEST_UNKNOWN: .*\)", at="http://127.*/manifests/1",
      hint="check the name and the tag; .*")  # fmt: skip
def no_such_image(bench: Bench) -> Ran:
    with fake_registry() as registry:
        return bench.build("--base", f"{registry.host}/a/b:1")


@ends(93, r"cannot read 127.*/a/b:1: .* answered 429 \(TOOMANYREQUESTS: slow down\)", at="http://127.*/manifests/1",
      hint="try again later, or log in: .*")  # fmt: skip
def a_registry_that_wants_to_be_left_alone(bench: Bench) -> Ran:
    body = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}'
    with fake_registry() as registry:
        registry.trouble("GET", "manifests", times=9, status=429, headers={"Retry-After": "3600"}, body=body)
        return bench.build("--base", f"{registry.host}/a/b:1")


@ends(
    100,
    "no Docker or Podman engine answers",
    hint="start one, set DOCKER_HOST, or do without: .*",
    heavy=True,
    left=(LOCK,),
)
def no_engine(bench: Bench) -> Ran:
    return bench.build("--load", env={"DOCKER_HOST": f"unix://{bench.tmp}/nothing", "XDG_RUNTIME_DIR": ""})


@ends(
    110, "the store may be written by other users", at=".*/cache", hint="chmod go-w .*, or choose another --cache-dir"
)
def a_store_that_others_may_write(bench: Bench) -> Ran:
    bench.cache.mkdir()
    bench.cache.chmod(0o777)
    return bench.build("--base", "compose:debian13")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.code}-{row.situation.__name__}")
def test_errors(row: Row, request: pytest.FixtureRequest) -> None:
    bench: Bench = request.getfixturevalue("bench" if row.heavy else "bare")
    before = files(bench.project)
    done = row.situation(bench)
    assert done.status == row.code, done.err
    assert done.out == ""
    said = lines(done.err)
    for name, wanted in (("error", row.error), ("at", row.at), ("hint", row.hint)):
        assert len(said[name]) == bool(wanted), f"{name}: {done.err}"
        assert not wanted or re.fullmatch(wanted, said[name][0]), f"{name}: {said[name][0]}"
    assert "Traceback" not in done.err
    assert "s3cret" not in done.err
    assert files(bench.project) - before <= row.left
    assert not bench.output.exists()
    assert [path.name for path in bench.cache.glob("tmp/*")] == []


def lines(text: str) -> dict[str, list[str]]:
    """What stands behind ``error:``, ``at:`` and ``hint:``."""
    heads = {"error": "error: ", "at": "   at: ", "hint": " hint: "}
    rows = text.splitlines()
    return {name: [row.removeprefix(head) for row in rows if row.startswith(head)] for name, head in heads.items()}


# what is no error of ours


def test_0_it_works(bench: Bench) -> None:
    done = bench.build()
    assert (done.status, done.out.count("\n")) == (0, 1)
    assert lines(done.err) == {"error": [], "at": [], "hint": []}


def test_1_a_bug_is_shown_whole(bare: Bench) -> None:
    with mock.patch("dpbuild.stages.config.load", side_effect=ZeroDivisionError("of ours")):
        done = bare.build()
    assert (done.status, done.out) == (1, "")
    assert "Traceback (most recent call last)" in done.err
    assert "ZeroDivisionError: of ours" in done.err
    assert lines(done.err)["error"] == ["this is a bug in dpbuild; please report it with the lines above"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_130_interrupted_while_a_registry_keeps_silent(bare: Bench, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asked = threading.Event()

        def accept() -> None:
            connection, _ = silent.accept()
            with connection:
                asked.set()
                while connection.recv(1 << 16):
                    pass

        thread = threading.Thread(target=accept)
        thread.start()
        base = f"127.0.0.1:{silent.getsockname()[1]}/a/b:1"
        process = subprocess.Popen(
            [sys.executable, "-m", "dpbuild", "build", str(bare.project), "--base", base],
            env={**os.environ, **bare.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert asked.wait(60)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        thread.join()
    assert (process.returncode, out, err.strip()) == (130, "", "interrupted")


# the table itself


def test_the_table_is_whole() -> None:
    kinds = [
        value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, errors.DpbuildError)
    ]
    codes = {kind.exit_code for kind in kinds} - {errors.DpbuildError.exit_code}
    assert codes == {row.code for row in TABLE}
    assert len(TABLE) == len({row.code for row in TABLE})
