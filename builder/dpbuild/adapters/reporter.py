"""Progress on stderr: a live line on a terminal, one line per step elsewhere, JSON lines for machines."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

# Steps shorter than this are not worth a line.
_NOTABLE = 0.5
_REFRESH = 0.1

Mode = Literal["live", "plain", "json", "none"]


class StreamReporter:
    """Writes to ``stream``; ``clock`` counts seconds from anywhere."""

    def __init__(self, stream: TextIO, clock: Callable[[], float], mode: Mode) -> None:
        self._stream = stream
        self._clock = clock
        self._mode = mode
        self._lock = threading.Lock()
        # Those under way, the first to begin first: downloads go on while layers are made.
        self._steps: list[StreamStep] = []
        self._shown = 0.0
        self._text = ""

    @contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator["StreamStep"]:
        """A step under way."""
        step = StreamStep(self, title, total, self._clock())
        if self._mode == "json":
            self._json({"event": "start", "step": title, "total": total})
        self._steps.append(step)
        self._show()
        try:
            yield step
        finally:
            self._steps.remove(step)
            self._show()
        seconds = self._clock() - step.started
        if self._mode == "json":
            self._json({"event": "done", "step": title, "result": step.result, "seconds": round(seconds, 3)})
        elif self._mode != "none" and seconds >= _NOTABLE:
            result = f": {step.result}" if step.result else ""
            self._clear()
            self._line(f"{title}{result} ({seconds:.1f} s)")
            self._show()

    def note(self, text: str) -> None:
        """One line."""
        self._say("note", text)

    def warning(self, text: str) -> None:
        """One line, and what more is to be said of it."""
        self._say("warning", text)

    def _say(self, kind: str, text: str) -> None:
        if self._mode == "json":
            self._json({"event": kind, "text": text})
        elif self._mode != "none":
            self._clear()
            self._line(f"{kind}: {text}")
            self._show()

    def result(self, text: str) -> None:
        """The closing lines of a verb."""
        if self._mode == "json":
            self._json({"event": "result", "text": text})
        elif self._mode != "none":
            self._line(text)

    def show(self) -> None:
        """Refresh the live line, if it is time."""
        if self._mode == "live" and self._clock() - self._shown >= _REFRESH:
            self._show()

    def _show(self) -> None:
        now = self._clock()
        self._shown = now
        self._live(", ".join(step.told(now) for step in list(self._steps)))

    def _clear(self) -> None:
        self._live("")

    def _live(self, text: str) -> None:
        """The line that stands until something else is to be said."""
        with self._lock:
            if self._mode == "live" and text != self._text:
                self._text = text
                self._stream.write(f"\r\x1b[K{text}")
                self._stream.flush()

    def _line(self, text: str) -> None:
        with self._lock:
            self._stream.write(text + "\n")
            self._stream.flush()

    def _json(self, value: dict[str, object]) -> None:
        self._line(json.dumps(value, ensure_ascii=False))


class StreamStep:
    """One step of a StreamReporter."""

    def __init__(self, reporter: StreamReporter, title: str, total: int | None, started: float) -> None:
        self._reporter = reporter
        self._lock = threading.Lock()
        self.title = title
        self.total = total
        self.started = started
        self.amount = 0
        self.result = ""

    def advance(self, amount: int) -> None:
        """So many bytes more."""
        with self._lock:
            self.amount += amount
        self._reporter.show()

    def told(self, now: float) -> str:
        """What a person sees of it while it is under way."""
        if not self.amount or now - self.started < _NOTABLE:
            return f"{self.title} …"
        return f"{self.title} … {self.amount / 1e6:.1f}" + (f" of {self.total / 1e6:.1f}" if self.total else "") + " MB"

    def done(self, result: str) -> None:
        """What the step found."""
        self.result = result
