"""What is kept of a program's output, and that none of it is waited for in a circle."""

import sys

import pytest

from dpbuild.adapters.sandbox.output import Kept
from dpbuild.adapters.sandbox.process import captured
from dpbuild.ports.sandbox import Outcome, TimedOut


def kept(most: int | None, *pieces: bytes) -> bytes:
    found = Kept(most)
    for piece in pieces:
        found.add(piece)
    return found.value


def test_all_of_it_up_to_the_limit() -> None:
    assert kept(None, b"abc", b"", b"def" * 1000) == b"abc" + b"def" * 1000
    assert kept(8, b"abc", b"defgh") == b"abcdefgh"
    assert kept(8) == b""


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_head_and_tail_of_more(size: int) -> None:
    data = bytes(range(100))
    pieces = [data[start : start + size] for start in range(0, 100, size)]
    assert kept(8, *pieces) == data[:4] + b"\n[92 bytes are left out here]\n" + data[-4:]


def test_an_endless_output_is_not_held() -> None:
    found = Kept(1000)
    for _ in range(10_000):
        found.add(b"x" * 999)
        assert len(found.value) < 1100
        assert len(found._head) + len(found._tail) < 1500 + 999


def run(script: str, stdin: bytes = b"", timeout: float = 60, most: int | None = None) -> Outcome:
    return captured(
        [sys.executable, "-S", "-c", script], {}, cwd="/", stdin=stdin, timeout=timeout, name="it", most=most
    )


def test_input_and_output_that_do_not_fit_into_a_pipe() -> None:
    data = bytes(range(256)) * 4000
    script = "import sys; d = sys.stdin.buffer.read(); sys.stderr.buffer.write(d[:9]); sys.stdout.buffer.write(d)"
    assert run(script, data) == Outcome(status=0, stdout=data, stderr=data[:9])
    echo = "import os\nwhile d := os.read(0, 100): os.write(1, d)"
    assert run(echo, data).stdout == data


def test_a_program_that_reads_nothing() -> None:
    assert run("import sys; sys.exit(3)", b"x" * 1_000_000).status == 3


def test_a_program_that_prints_much() -> None:
    found = run("print('first'); print('x' * 1_000_000); print('last')", most=100)
    assert found.stdout.startswith(b"first\nxxx")
    assert found.stdout.endswith(b"xxx\nlast\n")
    assert b"bytes are left out here" in found.stdout
    assert len(found.stdout) < 150


def test_a_program_that_prints_without_end() -> None:
    with pytest.raises(TimedOut, match="longer than 1 s") as caught:
        run("import os\nwhile True: os.write(2, b'again and again' * 100)", timeout=1, most=1000)
    assert caught.value.stderr.startswith(b"again and again")
    assert len(caught.value.stderr) < 1100


def test_a_program_that_closes_its_output_and_stays() -> None:
    with pytest.raises(TimedOut):
        run("import os, time; os.close(1); os.close(2); time.sleep(600)", timeout=1)
