"""Running in an engine, through the Docker SDK (Podman's socket speaks the same)."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from dpbuild.adapters.sandbox.copying import packed, replace
from dpbuild.adapters.sandbox.process import signals_to
from dpbuild.adapters.sandbox.terminal import in_terminal, raw_terminal
from dpbuild.adapters.sandbox.users import resolve_user
from dpbuild.archive import tar
from dpbuild.errors import SandboxError
from dpbuild.ports.runner import Start
from dpbuild.ports.sandbox import Job, Outcome, TimedOut

_CHUNK: Final = 1 << 16
_ATTEMPTS: Final = 4


class EngineSandbox:
    """An extracted image as a container, which is removed however it ends.

    The image and the mounts are copied into the container, and writable mounts are copied back when the program
    has ended, so the engine may be on another machine and nothing of the host is visible in it. ``connect`` gives
    a ``docker.APIClient`` or raises SandboxError; ``name`` is what the user reads.
    """

    isolates = True

    def __init__(self, connect: Callable[[], Any], name: str) -> None:
        self._connect = connect
        self.name = name

    def run(self, job: Job) -> Outcome:
        """Run to the end. Raises SandboxError; interrupting leaves nothing running."""
        owner = resolve_user(job.rootfs, job.user)
        client = self._connect()
        try:
            with _problems(), _empty_image(client) as image:
                container = _created(
                    client,
                    image,
                    command=list(job.argv),
                    environment=[f"{key}={value}" for key, value in job.env],
                    working_dir=job.working_dir,
                    user=job.user or "0",
                    stdin_open=True,
                    tty=not job.capture and in_terminal(),
                    network_disabled=not job.network,
                    host_config=client.create_host_config(network_mode="default" if job.network else "none"),
                )
                with container as name:
                    return self._run(client, name, job, owner)
        finally:
            client.close()

    def _run(self, client: Any, container: str, job: Job, owner: tuple[int, int]) -> Outcome:
        client.put_archive(container, "/", packed(job.rootfs, ""))
        for mount in job.mounts:
            holder = owner if mount.writable else (0, 0)
            content = packed(mount.source, mount.target, holder, readable=not mount.writable)
            client.put_archive(container, "/", content)
        outcome = _attached(client, container, job)
        for mount in job.mounts:
            if mount.writable:
                replace(client.get_archive(container, mount.target)[0], mount.source)
        return outcome


def run_image(client: Any, image: str, start: Start) -> Outcome:
    """Run an image that the engine has, with its own entrypoint, user and environment.

    stdin, stdout and stderr are dpbuild's own, signals are passed on, and the container is removed however it
    ends. ``client`` is a ``docker.APIClient``. Raises SandboxError.
    """
    bindings: dict[int, list[tuple[str, int]]] = {}
    for row in start.ports:
        bindings.setdefault(row.port, []).append((row.address, row.host))
    with _problems():
        container = _created(
            client,
            image,
            command=list(start.arguments) or None,
            environment=[f"{key}={value}" for key, value in start.env],
            ports=list(bindings),
            host_config=client.create_host_config(port_bindings=bindings),
            stdin_open=True,
            tty=in_terminal(),
        )
        with container as name:
            return _attached(client, name, None)


@contextlib.contextmanager
def _problems() -> Iterator[None]:
    """The SDK's errors in our words."""
    import docker.errors
    import requests.exceptions

    try:
        yield
    except docker.errors.DockerException as problem:
        said = getattr(problem, "explanation", None) or problem
        raise SandboxError(f"the engine could not run the image: {str(said).strip()}") from None
    except BrokenPipeError:
        raise  # whoever read our stdout has gone
    except (requests.exceptions.RequestException, OSError) as problem:
        raise SandboxError(f"the connection to the engine broke: {problem}") from None


@contextlib.contextmanager
def _empty_image(client: Any) -> Iterator[str]:
    """An image with nothing in it, for containers that are filled by copying."""
    import docker.errors

    answer = client.import_image_from_data(tar.END)
    image = str(answer).rpartition("sha256:")[2].partition('"')[0]
    if len(image) < 64:
        raise SandboxError(f"the engine did not import an empty image: {str(answer).strip()}")
    try:
        yield f"sha256:{image[:64]}"
    finally:
        with contextlib.suppress(docker.errors.DockerException):
            client.remove_image(f"sha256:{image[:64]}")


@contextlib.contextmanager
def _created(client: Any, image: str, **options: Any) -> Iterator[str]:
    container = str(client.create_container(image, **options)["Id"])
    try:
        yield container
    finally:
        _removed(client, container)


def _removed(client: Any, container: str) -> None:
    """Kill and remove. A busy engine gives up after ten seconds, so it is asked again."""
    import docker.errors

    for attempt in range(_ATTEMPTS):
        try:
            client.remove_container(container, force=True, v=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def _attached(client: Any, container: str, job: Job | None) -> Outcome:
    """Start the container and wait for its end; with a job that captures, its output is returned."""
    import docker.errors
    import requests.exceptions

    capture = job is not None and job.capture
    terminal = not capture and in_terminal()
    host = client.attach_socket(container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    raw = getattr(host, "_sock", host)
    raw.settimeout(None)  # a program may be silent for as long as it likes
    out: list[bytes] = []
    err: list[bytes] = []
    late = threading.Event()

    def kill(number: int) -> None:
        with contextlib.suppress(docker.errors.DockerException, requests.exceptions.RequestException):
            client.kill(container, signal=number)

    def too_late() -> None:
        late.set()
        kill(9)

    def take(stream: int, data: bytes) -> None:
        if capture:
            (err if stream == 2 else out).append(data)
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
        if terminal:
            stack.enter_context(raw_terminal(lambda rows, columns: client.resize(container, rows, columns)))
        if job is not None and job.timeout is not None:
            timer = threading.Timer(job.timeout, too_late)
            stack.callback(timer.cancel)
            timer.start()
        given = job.stdin if job is not None and job.capture else None
        threading.Thread(target=_send, args=(raw, given), daemon=True).start()
        for stream, data in _chunks(raw) if terminal else _frames(raw):
            take(stream, data)
        status = int(client.wait(container, timeout=None)["StatusCode"])
    if late.is_set() and job is not None and job.timeout is not None:
        raise TimedOut.after(job.timeout, "the engine", b"".join(out), b"".join(err))
    return Outcome(status=status, stdout=b"".join(out), stderr=b"".join(err))


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
