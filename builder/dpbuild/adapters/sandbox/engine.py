"""Running an image in an engine, through the Docker SDK (Podman's socket speaks the same)."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

from dpbuild.adapters.sandbox.process import signals_to
from dpbuild.errors import SandboxError
from dpbuild.ports.sandbox import Outcome

_CHUNK = 1 << 16


def run_image(client: Any, image: str, arguments: tuple[str, ...]) -> Outcome:
    """Run an image that the engine has, with its own entrypoint, user and environment; ``arguments`` replace Cmd.

    stdin, stdout and stderr are dpbuild's own, signals are passed on, and the container is removed however it
    ends. ``client`` is a ``docker.APIClient``. Raises SandboxError.
    """
    import docker.errors
    import requests.exceptions

    try:
        made = client.create_container(image, command=list(arguments) or None, stdin_open=True, tty=False)
        container = str(made["Id"])
        try:
            return _run(client, container)
        finally:
            client.remove_container(container, force=True)
    except docker.errors.DockerException as problem:
        raise SandboxError(f"the engine could not run the image: {problem}") from None
    except requests.exceptions.RequestException as problem:
        raise SandboxError(f"the connection to the engine broke: {problem}") from None


def _run(client: Any, container: str) -> Outcome:
    host = client.attach_socket(container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    raw = getattr(host, "_sock", host)
    client.start(container)
    sender = threading.Thread(target=_send, args=(raw,), daemon=True)
    sender.start()

    def forward(number: int) -> None:
        client.kill(container, signal=number)

    with signals_to(forward, terminal=False):
        for stream, data in _frames(raw):
            target = sys.stderr.buffer if stream == 2 else sys.stdout.buffer
            target.write(data)
            target.flush()
        status = int(client.wait(container)["StatusCode"])
    with contextlib.suppress(OSError):
        raw.close()
    return Outcome(status=status)


def _send(raw: Any) -> None:
    """Pass stdin on, and its end."""
    import socket

    source: BinaryIO = sys.stdin.buffer
    with contextlib.suppress(OSError, ValueError):
        while chunk := source.read1(_CHUNK):  # type: ignore[attr-defined]
            raw.sendall(chunk)
        raw.shutdown(socket.SHUT_WR)


def _frames(raw: Any) -> Iterator[tuple[int, bytes]]:
    """Docker's multiplexed stream (engine API, "Attach to a container"): kind, three zeros, length, data."""
    while head := _exactly(raw, 8):
        yield head[0], _exactly(raw, int.from_bytes(head[4:8], "big"))


def _exactly(raw: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = raw.recv(size - len(data))
        if not chunk:
            return b""
        data += chunk
    return data
