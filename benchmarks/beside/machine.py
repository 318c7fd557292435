"""Processes: how long they take, how much memory they hold, and that they end when there is no time left."""

import contextlib
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SAMPLE = 0.1
_LONGEST = 900.0


class Failed(Exception):
    """A case cannot be measured; the text says why, in one line."""


class OutOfTime(Exception):
    """The time that was given is over."""


class Clock:
    """What is left of the time that was given; ``minutes`` None: as long as it takes."""

    def __init__(self, minutes: float | None) -> None:
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    def left(self) -> float:
        """Seconds."""
        return float("inf") if self._end is None else self._end - time.monotonic()

    def timeout(self) -> float:
        """Seconds that one command may take. Raises OutOfTime."""
        if self.left() <= 0:
            raise OutOfTime
        return min(self.left(), _LONGEST)


@dataclass
class Sample:
    """One side of one case, once. ``memory`` and ``sent`` and ``kept`` are in bytes; None: not measured."""

    seconds: float = 0.0
    memory: int | None = None
    sent: int | None = None
    kept: int | None = None
    parts: dict[str, float] = field(default_factory=dict)


def run(
    words: list[object], clock: Clock, *, env: Mapping[str, str] | None = None, what: str = "", cwd: Path | None = None
) -> str:
    """Run a program, and give its stdout. Raises Failed with the end of its stderr, and OutOfTime."""
    text = [str(word) for word in words]
    try:
        process = subprocess.Popen(
            text, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    except OSError as problem:
        raise Failed(f"{text[0]} cannot be run: {problem.strerror}") from None
    try:
        out, err = process.communicate(timeout=clock.timeout())
    except subprocess.TimeoutExpired:
        end(process)
        if clock.left() <= 0:
            raise OutOfTime from None
        raise Failed(f"{what or text[0]} took longer than {_LONGEST:.0f} s") from None
    except BaseException:
        end(process)
        raise
    if process.returncode:
        raise Failed(f"{what or ' '.join(text[:3])} ended with {process.returncode}: {tail(err or out)}")
    return out


def timed(
    words: list[object], clock: Clock, env: Mapping[str, str], what: str, *, watched: bool
) -> tuple[float, int | None]:
    """Seconds by the wall clock and peak memory in bytes: of the program or one that it ran, ``watched`` of all
    together. Raises Failed, OutOfTime.
    """
    seen: list[int] = []
    text = [str(word) for word in words]
    with Path(os.devnull).open("w") as null:
        began = time.monotonic()
        process = subprocess.Popen(
            text, env=env, stdout=null, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    timer = threading.Timer(clock.timeout(), _signal, (process.pid, signal.SIGKILL))
    timer.daemon = True
    timer.start()
    try:
        with watching([process.pid] if watched else [], seen):
            assert process.stderr is not None
            with process.stderr:
                err = process.stderr.read()
            _, status = os.waitpid(process.pid, 0)
    except BaseException:
        end(process)
        raise
    finally:
        timer.cancel()
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        if clock.left() <= 0:
            raise OutOfTime
        raise Failed(f"{what} ended with {process.returncode}: {tail(err)}")
    # What the kernel says at the end begins with what this process held when it started the other one, so it is no
    # help. Nothing for what was over before it was looked at.
    return seconds, max(seen, default=0) or None


def end(process: "subprocess.Popen[str]") -> None:
    """End a program and what it started; it has a session of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired, ChildProcessError):
            process.wait(10)
            break
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _signal(session: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(session, number)


def tail(text: str) -> str:
    """The lines that say what went wrong, as one."""
    rows = [row.strip() for row in text.splitlines() if row.strip()]
    first = next((at for at, row in enumerate(rows) if re.match(r"error|#\d+ ERROR|failed", row, re.IGNORECASE)), -3)
    return re.sub(r"\s+", " ", " / ".join(rows[first:][:3]))[:400] or "without a word"


@contextlib.contextmanager
def watching(roots: list[int], seen: list[int]) -> Iterator[None]:
    """Appends the largest sum of resident memory, in bytes, of these processes and all below them; nothing where there
    is no /proc. Memory that processes share counts for each.
    """
    if not Path("/proc/self/statm").exists() or not roots:
        yield
        return
    stop, largest = threading.Event(), [0]

    def look() -> None:
        while not stop.wait(_SAMPLE):
            largest[0] = max(largest[0], _resident(roots))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        seen.append(largest[0])


def _resident(roots: list[int]) -> int:
    page = os.sysconf("SC_PAGE_SIZE")
    children: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                row = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(row[1]), []).append(int(name))
                sizes[int(name)] = int(row[21]) * page
    todo, total, done = list(roots), 0, set()
    while todo:
        here = todo.pop()
        if here not in done:
            done.add(here)
            total += sizes.get(here, 0)
            todo += children.get(here, [])
    return total


def port(host: str = "127.0.0.1") -> int:
    """One that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def answers(host: str, number: int, seconds: float = 15.0) -> bool:
    """Whether somebody accepts connections there, within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((host, number)) == 0:
                return True
        time.sleep(0.05)
    return False


def disk(path: Path) -> int:
    """Bytes that a folder takes on the disk, as ``du`` says."""
    done = subprocess.run(["du", "-s", "--block-size=1", path], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[0]) if done.stdout else 0


def facts() -> dict[str, str]:
    """What of the machine decides how long things take."""
    rows = {
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
        rows["cpu"] = found[1] if found else platform.machine()
        found = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
        rows["memory"] = f"{int(found[1]) / 1e6:.0f} GB" if found else ""
        found = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
        rows["system"] = found[1] if found else ""
    with contextlib.suppress(AttributeError, OSError):
        rows["load before"] = f"{os.getloadavg()[0]:.2f}"
    return rows


def remove(path: Path) -> None:
    """A folder, also one with files that nobody may write to."""
    if path.exists():
        subprocess.run(["chmod", "-R", "u+rwX", path], capture_output=True, check=False)
        shutil.rmtree(path, ignore_errors=True)
