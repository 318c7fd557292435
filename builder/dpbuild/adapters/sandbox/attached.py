"""Starting a container, and being at its side until it ends: input, output, signals, and an engine that goes silent."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final, Self

from dpbuild.adapters.sandbox.output import Kept
from dpbuild.adapters.sandbox.process import signals_to
from dpbuild.adapters.sandbox.terminal import in_terminal, raw_terminal
from dpbuild.adapters.sandbox.trouble import silent
from dpbuild.ports.sandbox import Job, Outcome, TimedOut

_CHUNK: Final = 1 << 16
# Seconds between two questions whether the engine is there, and that it may take to answer one. A busy one is slow.
PATIENCE: Final = 60.0
# Seconds in which it has to take the order to kill a program.
_KILL: Final = 10


class _Watch:
    """Asks the engine now and then whether it is there; one that is not ends the reading of ``raw``.

    Nothing else would: a connection to an engine that was stopped, or whose machine is gone, just stays silent.
    """

    def __init__(self, client: Any, raw: Any, patience: float) -> None:
        self._client = client
        self._raw = raw
        self._patience = patience
        self._over = threading.Event()
        self.silent = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def check(self) -> None:
        """Raises SandboxError if the engine is silent."""
        if self.silent:
            raise silent()

    def give_up(self) -> None:
        """What was read until now is all there will be."""
        import socket

        self.silent = True
        with contextlib.suppress(OSError):
            self._raw.shutdown(socket.SHUT_RDWR)

    def ends(self, seconds: float) -> bool:
        """Whether the program ends in that time."""
        return self._over.wait(seconds)

    def _look(self) -> None:
        import requests.exceptions

        while not self._over.wait(self._patience):
            try:
                self._client.get(f"{self._client.base_url}/_ping", timeout=self._patience).close()
            except requests.exceptions.Timeout:
                if not self._over.is_set():
                    self.give_up()
                return
            except (requests.exceptions.RequestException, OSError):
                # Whoever reads sees that it ended, sooner than we do.
                continue


def attached(client: Any, container: str, job: Job | None, patience: float = PATIENCE) -> Outcome:
    """Start the container and wait for its end; with a job that captures, its output is returned.

    Raises TimedOut, SandboxError for an engine that does not answer for ``patience`` seconds, and the SDK's errors.
    """
    import docker.errors
    import requests.exceptions

    capture = job is not None and job.capture
    terminal = not capture and in_terminal()
    host = client.attach_socket(container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    raw = getattr(host, "_sock", host)
    raw.settimeout(None)  # a program may be silent for as long as it likes
    out, err = (Kept(job.most if job is not None else None) for _ in range(2))
    late = threading.Event()
    watch = _Watch(client, raw, patience)

    def kill(number: int) -> bool:
        url = f"{client.base_url}/v{client.api_version}/containers/{container}/kill"
        try:
            client.post(url, params={"signal": number}, timeout=_KILL).close()
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            return False
        return True

    def too_late() -> None:
        late.set()
        if not kill(9) or not watch.ends(patience):
            watch.give_up()

    def take(stream: int, data: bytes) -> None:
        if capture:
            (err if stream == 2 else out).add(data)
            return
        target = sys.stderr.buffer if stream == 2 else sys.stdout.buffer
        target.write(data)
        target.flush()

    with contextlib.ExitStack() as stack:
        for part in (raw, host, getattr(host, "_response", host)):
            stack.callback(part.close)
        if not capture:
            stack.enter_context(signals_to(kill, terminal=False))
        client.start(container)
        stack.enter_context(watch)
        if terminal:
            stack.enter_context(raw_terminal(lambda rows, columns: client.resize(container, rows, columns)))
        if job is not None and job.timeout is not None:
            timer = threading.Timer(job.timeout, too_late)
            timer.daemon = True
            stack.callback(timer.cancel)
            timer.start()
        given = job.stdin if job is not None and job.capture else None
        threading.Thread(target=_send, args=(raw, given), daemon=True).start()
        for stream, data in _chunks(raw) if terminal else _frames(raw):
            take(stream, data)
        status = _status(client, container, watch, patience)
    if late.is_set() and job is not None and job.timeout is not None:
        raise TimedOut.after(job.timeout, "the engine", out.value, err.value)
    return Outcome(status=status, stdout=out.value, stderr=err.value)


def _status(client: Any, container: str, watch: _Watch, patience: float) -> int:
    """The exit status. A program may have closed its output long before it ends."""
    import requests.exceptions

    while True:
        watch.check()
        try:
            return int(client.wait(container, timeout=patience)["StatusCode"])
        except requests.exceptions.Timeout:
            continue
        except requests.exceptions.ConnectionError as problem:
            # What requests makes of a time that ran out while an answer was read.
            if "timed out" not in str(problem):
                raise


def _send(raw: Any, given: bytes | None) -> None:
    """Pass stdin on, and its end."""
    import socket

    with contextlib.suppress(OSError, ValueError):
        if given is not None:
            raw.sendall(given)
        else:
            # Not through the buffer: its lock would be held when dpbuild ends before its input does.
            source = sys.stdin.fileno()
            while chunk := os.read(source, _CHUNK):
                raw.sendall(chunk)
        raw.shutdown(socket.SHUT_WR)


def _chunks(raw: Any) -> Iterator[tuple[int, bytes]]:
    """What a terminal gets: one stream."""
    while data := raw.recv(_CHUNK):
        yield 1, data


def _frames(raw: Any) -> Iterator[tuple[int, bytes]]:
    """Docker's multiplexed stream (engine API, "Attach to a container"): kind, three zeros, length, data."""
    while head := _exactly(raw, 8):
        yield head[0], _exactly(raw, int.from_bytes(head[4:8], "big"))


def _exactly(raw: Any, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = raw.recv(size - len(data))
        if not chunk:
            return b""
        data += chunk
    return bytes(data)
