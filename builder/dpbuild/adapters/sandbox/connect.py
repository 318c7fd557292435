"""Finding an engine: as ``docker`` and ``podman`` themselves do, and where they put their sockets."""

import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from dpbuild.adapters.sandbox.trouble import problems
from dpbuild.errors import SandboxError
from dpbuild.frozen import frozen

Kind = Literal["docker", "podman"]

# Seconds that an engine may take to say that it is there; and to answer while it loads an image.
_HELLO: Final = 10
_WORK: Final = 600


@frozen
class EngineSettings:
    """What the environment says of engines; "" where it says nothing.

    ``config`` is the folder of Docker's client configuration, ``runtime`` XDG_RUNTIME_DIR, ``home`` the user's
    home directory. ``host``, ``context`` and ``podman_host`` are DOCKER_HOST, DOCKER_CONTEXT and CONTAINER_HOST.
    """

    host: str = ""
    context: str = ""
    config: str = ""
    certificates: str = ""
    verify: bool = False
    podman_host: str = ""
    runtime: str = ""
    home: str = ""

    @classmethod
    def configured(cls, environment: Mapping[str, str], home: str) -> Self:
        """Read the variables that ``docker`` (its manual, "Environment variables") and ``podman`` read."""
        config = environment.get("DOCKER_CONFIG") or (f"{home}/.docker" if home else "")
        return cls(
            host=environment.get("DOCKER_HOST", ""),
            context=environment.get("DOCKER_CONTEXT", ""),
            config=config,
            certificates=environment.get("DOCKER_CERT_PATH", "") or config,
            verify=bool(environment.get("DOCKER_TLS_VERIFY")),
            podman_host=environment.get("CONTAINER_HOST", ""),
            runtime=environment.get("XDG_RUNTIME_DIR", ""),
            home=home,
        )


@frozen(kw_only=False)
class Endpoint:
    """Where an engine may be; ``certificates`` is a folder of ca.pem, cert.pem and key.pem, or ""."""

    url: str
    certificates: str = ""
    verify: bool = True


def endpoints(settings: EngineSettings, kind: Kind) -> Iterator[Endpoint]:
    """Where to look, in order. What the user has set is the only place. Raises SandboxError for a broken context."""
    if kind == "podman":
        if settings.podman_host:
            yield Endpoint(settings.podman_host)
            return
        yield from _sockets(
            f"{settings.runtime}/podman/podman.sock" if settings.runtime else "", "/run/podman/podman.sock"
        )
        return
    if settings.host:
        yield Endpoint(settings.host, settings.certificates if settings.verify else "", settings.verify)
        return
    context = settings.context or _current_context(settings)
    if context not in ("", "default"):
        yield _context(settings, context)
        return
    yield from _sockets(
        "/var/run/docker.sock",
        f"{settings.runtime}/docker.sock" if settings.runtime else "",
        f"{settings.home}/.docker/run/docker.sock" if settings.home else "",
    )


def connect(settings: EngineSettings, kind: Literal["auto", "docker", "podman"] = "auto") -> Any:
    """A ``docker.APIClient`` of the first engine that answers, ``auto`` asking Docker first. Raises SandboxError."""
    import docker
    import docker.errors
    import docker.tls
    import requests.exceptions

    reasons = []
    kinds: tuple[Kind, ...] = ("docker", "podman") if kind == "auto" else (kind,)
    for name in kinds:
        for endpoint in endpoints(settings, name):
            tls: Any = False
            folder = endpoint.certificates
            try:
                _knock(endpoint.url)
                if folder:
                    tls = docker.tls.TLSConfig(
                        client_cert=(f"{folder}/cert.pem", f"{folder}/key.pem"),
                        ca_cert=f"{folder}/ca.pem",
                        verify=endpoint.verify,
                    )
                client = docker.APIClient(
                    base_url=endpoint.url,
                    version="auto",
                    timeout=_HELLO,
                    tls=tls,
                    use_ssh_client=endpoint.url.startswith("ssh:"),
                )
                client.timeout = _WORK
            except (
                docker.errors.DockerException,
                requests.exceptions.RequestException,
                OSError,
                ValueError,
            ) as problem:
                reasons.append(f"{endpoint.url}: {_short(problem)}")
            else:
                return client
    engine = {"docker": "Docker", "podman": "Podman", "auto": "Docker or Podman"}[kind]
    variable = "CONTAINER_HOST" if kind == "podman" else "DOCKER_HOST"
    raise SandboxError(
        f"no {engine} engine answers" + "".join(f"\n  | {reason}" for reason in reasons),
        hint=f"start one, set {variable}, or do without: -o writes a folder, --builder bubblewrap needs no engine",
    )


def engine_name(client: Any) -> Kind:
    """Whose engine it is; Podman speaks Docker's API and says so in its version. Raises SandboxError."""
    with problems("the engine does not say what it is"):
        parts = client.version().get("Components") or []
    return "podman" if any("podman" in str(part.get("Name", "")).lower() for part in parts) else "docker"


def _sockets(*paths: str) -> Iterator[Endpoint]:
    for path in paths:
        if path and Path(path).exists():
            yield Endpoint(f"unix://{path}")


def _current_context(settings: EngineSettings) -> str:
    try:
        value = json.loads(Path(settings.config, "config.json").read_bytes())
    except (OSError, ValueError):
        return ""
    return str(value.get("currentContext") or "") if isinstance(value, dict) else ""


def _context(settings: EngineSettings, name: str) -> Endpoint:
    """A context as ``docker context create`` stores it: below the sha256 of its name."""
    key = hashlib.sha256(name.encode()).hexdigest()
    path = Path(settings.config, "contexts", "meta", key, "meta.json")
    try:
        docker = json.loads(path.read_bytes())["Endpoints"]["docker"]
        host, verify = str(docker["Host"]), not docker.get("SkipTLSVerify")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise SandboxError(
            f"Docker's context {name!r} cannot be read", where=str(path), hint="docker context ls, or set DOCKER_HOST"
        ) from None
    folder = Path(settings.config, "contexts", "tls", key, "docker")
    return Endpoint(host, str(folder) if folder.is_dir() else "", verify)


def _knock(url: str) -> None:
    """Whether anybody listens at a local socket; the SDK would leave its own end open. Raises OSError."""
    path = url.removeprefix("unix://")
    if path != url:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_HELLO)
            probe.connect(path)


def _short(problem: Exception) -> str:
    return str(problem).splitlines()[0][:200] if str(problem) else type(problem).__name__
