"""What progress looks like: lines for logs, JSON for machines, one line that moves for people."""

import io
import json
from typing import cast

import pytest

from dpbuild.adapters.reporter import Mode, StreamReporter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def said(mode: Mode, *, seconds: float, moves: int = 0) -> str:
    """What one step of so many seconds and three other lines come to."""
    stream, clock = io.StringIO(), Clock()
    reporter = StreamReporter(stream, clock, mode)
    with reporter.step("downloading", 2_000_000) as step:
        for _ in range(moves):
            clock.now += seconds / moves
            step.advance(2_000_000 // moves)
        clock.now = seconds
        step.done("2.0 MB")
    reporter.note("a note")
    reporter.result("the end")
    return stream.getvalue()


def test_a_log_gets_a_line_for_each_step_that_took_time() -> None:
    assert said("plain", seconds=1.26) == "downloading: 2.0 MB (1.3 s)\nnote: a note\nthe end\n"
    assert said("plain", seconds=0.4) == "note: a note\nthe end\n"


def test_a_warning_is_called_one() -> None:
    for mode, wanted in (
        ("plain", "warning: SUP002 /app/.env\n      fix: leave it out\n"),
        ("json", '{"event": "warning", "text": "SUP002 /app/.env\\n      fix: leave it out"}\n'),
        ("none", ""),
    ):
        stream = io.StringIO()
        StreamReporter(stream, Clock(), cast("Mode", mode)).warning("SUP002 /app/.env\n      fix: leave it out")
        assert stream.getvalue() == wanted


def test_none_says_nothing() -> None:
    assert said("none", seconds=9) == ""


def test_json_has_an_object_in_each_line() -> None:
    assert [json.loads(line) for line in said("json", seconds=0.4).splitlines()] == [
        {"event": "start", "step": "downloading", "total": 2_000_000},
        {"event": "done", "step": "downloading", "result": "2.0 MB", "seconds": 0.4},
        {"event": "note", "text": "a note"},
        {"event": "result", "text": "the end"},
    ]


def test_a_terminal_shows_at_once_what_goes_on_and_then_how_far_it_is() -> None:
    rows = said("live", seconds=2, moves=4).replace("\r\x1b[K", "\n").splitlines()
    assert rows[1] == "downloading …"
    assert rows[2:6] == [f"downloading … {row} of 2.0 MB" for row in ("0.5", "1.0", "1.5", "2.0")]
    assert [row for row in rows[6:] if row] == ["downloading: 2.0 MB (2.0 s)", "note: a note", "the end"]


@pytest.mark.parametrize("seconds", [0.04, 0.4])
def test_a_terminal_is_not_written_to_all_the_time(seconds: float) -> None:
    rows = said("live", seconds=seconds, moves=4).replace("\r\x1b[K", "\n").splitlines()
    assert [row for row in rows if row] == ["downloading …", "note: a note", "the end"]


def test_a_terminal_shows_all_that_goes_on() -> None:
    stream, clock = io.StringIO(), Clock()
    reporter = StreamReporter(stream, clock, "live")
    with reporter.step("making 2 layers") as making:
        with reporter.step("downloading", 2_000_000) as downloading:
            clock.now = 1.0
            downloading.advance(500_000)
            clock.now = 2.0
            making.advance(3_000_000)
        reporter.note("a note")
    rows = [row for row in stream.getvalue().replace("\r\x1b[K", "\n").splitlines() if row]
    assert rows == [
        "making 2 layers …",
        "making 2 layers …, downloading …",
        "making 2 layers …, downloading … 0.5 of 2.0 MB",
        "making 2 layers … 3.0 MB, downloading … 0.5 of 2.0 MB",
        "making 2 layers … 3.0 MB",
        "downloading (2.0 s)",
        "making 2 layers … 3.0 MB",
        "note: a note",
        "making 2 layers … 3.0 MB",
        "making 2 layers (2.0 s)",
    ]
