"""The command's process ends as any other would, as far as anybody can tell, though it is not taken apart."""

import os
import pstats
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dpbuild.cli import main

# Says whether Python took it apart.
WITNESS = """
import os
class Witness:
    def __del__(self, write=os.write): write(1, b"taken apart\\n")
witness = Witness()
"""
COMMAND = "from dpbuild.cli.main import command\ncommand()\n"
MAIN = "from dpbuild.cli.main import main\nmain()\n"


def run(code: str, *words: object, **more: object) -> "subprocess.CompletedProcess[bytes]":
    # With buffers, whatever the tests are run with.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    options = {"capture_output": True, "env": env, **more}
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], check=False, **options)


@pytest.mark.parametrize(
    ("words", "status"),
    [(["--version"], 0), (["build", "--help"], 0), (["build", "--nonsense"], 2), (["build", "nowhere"], 2)],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_it_says_and_returns_the_same(words: list[str], status: int) -> None:
    command, other = run(COMMAND, *words), run(MAIN, *words)
    assert (command.returncode, command.stdout, command.stderr) == (status, other.stdout, other.stderr)
    assert other.returncode == status


def test_it_is_not_taken_apart() -> None:
    """Another program, which may have something to do afterwards, is."""
    assert run(WITNESS + COMMAND, "--version").stdout.count(b"taken apart") == 0
    assert run(WITNESS + MAIN, "--version").stdout.count(b"taken apart") == 1


def test_python_m_and_the_script_are_the_command(root: Path) -> None:
    assert tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"] == {
        "dpbuild": f"{main.command.__module__}:{main.command.__name__}"
    }
    code = WITNESS + "import runpy, sys\nrunpy.run_module('dpbuild', run_name='__main__')\n"
    assert run(code, "--version").stdout.count(b"taken apart") == 0


def test_what_is_to_be_done_at_the_end_is_done() -> None:
    code = WITNESS + (
        "from dpbuild.cli.leaving import Leaving\n"
        "leaving = Leaving()\n"
        "import atexit, concurrent.futures, sys, tempfile, threading, time, weakref\n"
        "folder = tempfile.TemporaryDirectory()\n"
        "print(folder.name, flush=True)\n"
        "atexit.register(print, 'called')\n"
        "final = weakref.finalize(leaving, print, 'finalized')\n"
        "def late(word):\n"
        "    time.sleep(0.2)\n"
        "    print(word + '\\n', end='')\n"
        "threading.Thread(target=late, args=['joined']).start()\n"
        "concurrent.futures.ThreadPoolExecutor().submit(late, 'waited for')\n"
        "leaving.leave(7)\n"
    )
    done = run(code)
    folder, *lines = done.stdout.decode().splitlines()
    assert sorted(lines) == ["called", "finalized", "joined", "waited for"]
    assert not Path(folder).exists()
    assert (done.returncode, done.stderr.count(b"Traceback")) == (7, 0)


def test_what_was_registered_before_it_is_done() -> None:
    """By a sitecustomize, say: what measures or logs each program of a machine."""
    assert run("import atexit\natexit.register(print, 'called')\n" + COMMAND, "--version").stdout.count(b"called") == 1


def test_all_of_what_was_said_arrives() -> None:
    """More than a pipe or a buffer holds."""
    code = (
        "import sys\nfrom dpbuild.cli.leaving import Leaving\nleaving = Leaving()\n"
        "for _ in range(100_001): sys.stdout.write('one'), sys.stderr.write('to')\nleaving.leave(0)\n"
    )
    done = run(code)
    assert (len(done.stdout), len(done.stderr), done.returncode) == (300_003, 200_002, 0)


@pytest.mark.parametrize("where", ["closed", "full"])
def test_nobody_hears_it(where: str) -> None:
    """The exit code, and what is said of it, are those of Python."""
    seen = []
    for code in (COMMAND, MAIN):
        if where == "closed":
            reading, writing = os.pipe()
            os.close(reading)
        else:
            writing = os.open("/dev/full", os.O_WRONLY)
        done = run(code, "--version", capture_output=False, stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        seen.append((done.returncode, done.stderr))
    assert seen[0] == seen[1]
    assert seen[0][0] != 0


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_it_is_interrupted(number: str) -> None:
    code = (
        "import os, signal\nfrom dpbuild.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"main._run = lambda *_: os.kill(os.getpid(), signal.{number})\n"
        "main.command()\n"
    )
    done = run(WITNESS + code)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"interrupted\n")


def test_what_ends_it_otherwise_is_not_hidden() -> None:
    code = "from dpbuild.cli import main\nmain._code = lambda *_: 1 / 0\nmain.command()\n"
    done = run(WITNESS + code)
    assert (done.returncode, done.stdout) == (1, b"taken apart\n")
    assert b"ZeroDivisionError" in done.stderr


@pytest.mark.parametrize("watch", ["settrace", "setprofile"])
def test_who_is_watched_is_taken_apart(watch: str) -> None:
    """What watches may be done only after everything else."""
    code = f"import sys\nsys.{watch}(lambda *_: None)\n"
    assert run(WITNESS + code + COMMAND, "--version").stdout.count(b"taken apart") == 1


def test_a_profile_is_written(tmp_path: Path) -> None:
    words = ["-m", "cProfile", "-o", tmp_path / "profile", "-m", "dpbuild", "--version"]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    assert any(name == "command" for _, _, name in pstats.Stats(str(tmp_path / "profile")).stats)  # type: ignore[attr-defined]
