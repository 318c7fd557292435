"""Running in an engine, through the Docker SDK (Podman's socket speaks the same)."""

import contextlib
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Final

from dpbuild.adapters.sandbox.attached import PATIENCE, attached
from dpbuild.adapters.sandbox.copying import packed, replace
from dpbuild.adapters.sandbox.terminal import in_terminal
from dpbuild.adapters.sandbox.trouble import problems
from dpbuild.adapters.sandbox.users import resolve_user
from dpbuild.archive import tar
from dpbuild.errors import SandboxError
from dpbuild.ports.runner import Start
from dpbuild.ports.sandbox import Job, Mount, Outcome, TimedOut

_WHAT: Final = "the engine could not run the image"
_ATTEMPTS: Final = 4
_CHUNK: Final = 1 << 20
# Seconds that an engine gets to remove something: as a rule, and once it is known to have trouble.
_REMOVING: Final = 60
_TROUBLED: Final = 3
# Whose containers and images they are, should an engine end before they are removed.
_LABEL: Final = "dpbuild"


class EngineSandbox:
    """An extracted image as a container, which is removed however it ends.

    The image and the mounts are copied into the container, and writable mounts are copied back when the program
    has ended, so the engine may be on another machine and nothing of the host is visible in it. ``connect`` gives
    a ``docker.APIClient`` or raises SandboxError; ``name`` is what the user reads. ``patience`` is how many seconds
    the engine may take to say that it is there, while the program runs.
    """

    isolates = True

    def __init__(self, connect: Callable[[], Any], name: str, patience: float = PATIENCE) -> None:
        self._connect = connect
        self.name = name
        self._patience = patience

    def run(self, job: Job) -> Outcome:
        """Run to the end. Raises SandboxError; interrupting leaves nothing running."""
        owner = resolve_user(job.rootfs, job.user)
        client = self._connect()
        try:
            with problems(_WHAT, output=True), _empty_image(client) as image:
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
        outcome = attached(client, container, job, self._patience)
        for mount in job.mounts:
            if mount.writable:
                _fetch(client, container, mount)
        return outcome


def _fetch(client: Any, container: str, mount: Mount) -> None:
    """Bring back what is in a writable mount. The SDK would leave the connection open if that fails half-way."""
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/archive"
    answer = client.get(url, params={"path": mount.target}, stream=True, timeout=client.timeout)
    with contextlib.closing(answer):
        if answer.status_code != HTTPStatus.OK:
            raise SandboxError(f"the engine does not give back {mount.target}: {answer.text.strip()}")
        try:
            replace(answer.iter_content(_CHUNK), mount.source)
        except ValueError as problem:
            raise SandboxError(f"what the program left in {mount.target} cannot be taken: {problem}") from None


def run_image(client: Any, image: str, start: Start) -> Outcome:
    """Run an image that the engine has, with its own entrypoint, user and environment.

    stdin, stdout and stderr are dpbuild's own, signals are passed on, and the container is removed however it
    ends. ``client`` is a ``docker.APIClient``. Raises SandboxError.
    """
    bindings: dict[int, list[tuple[str, int]]] = {}
    for row in start.ports:
        bindings.setdefault(row.port, []).append((row.address, row.host))
    with problems(_WHAT, output=True):
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
            return attached(client, name, None)


@contextlib.contextmanager
def _empty_image(client: Any) -> Iterator[str]:
    """An image with nothing in it, for containers that are filled by copying."""
    answer = client.import_image_from_data(tar.END, changes=[f"LABEL {_LABEL}=builder"])
    image = str(answer).rpartition("sha256:")[2].partition('"')[0]
    if len(image) < 64:
        raise SandboxError(f"the engine did not import an empty image: {str(answer).strip()}")
    with _cleaned(client, lambda: client.remove_image(f"sha256:{image[:64]}"), needed=False):
        yield f"sha256:{image[:64]}"


@contextlib.contextmanager
def _created(client: Any, image: str, **options: Any) -> Iterator[str]:
    container = str(client.create_container(image, labels={_LABEL: "builder"}, **options)["Id"])
    with _cleaned(client, lambda: _removed(client, container), needed=True):
        yield container


@contextlib.contextmanager
def _cleaned(client: Any, clean: Callable[[], object], *, needed: bool) -> Iterator[None]:
    """Call ``clean`` after the block, without hiding why the block ended; ``needed``: a failure of it is one."""
    import docker.errors
    import requests.exceptions

    def quietly() -> None:
        with contextlib.suppress(docker.errors.DockerException, requests.exceptions.RequestException, OSError):
            clean()

    try:
        yield
    except BaseException as problem:
        sound = isinstance(problem, TimedOut) or not isinstance(problem, OSError | SandboxError)
        client.timeout = _REMOVING if sound else _TROUBLED
        quietly()
        raise
    client.timeout = _REMOVING
    if needed:
        clean()
    else:
        quietly()


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
