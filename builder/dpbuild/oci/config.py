"""Image configurations, as in the OCI image spec, config.md, and Docker's additions to it."""

from dpbuild.frozen import frozen
from dpbuild.oci.descriptor import Pairs
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform


@frozen
class Healthcheck:
    """Docker's ``Healthcheck``; times in nanoseconds, 0 means the engine's default."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@frozen
class History:
    """One row of ``history``; ``empty_layer`` rows have no layer."""

    created: str = ""
    created_by: str = ""
    comment: str = ""
    author: str = ""
    empty_layer: bool = False


@frozen
class ImageConfig:
    """What a container starts with, and which layers it is made of."""

    platform: Platform
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[History, ...] = ()
    created: str = ""
    author: str = ""
    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Pairs = ()
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] = ()

    @property
    def environment(self) -> Pairs:
        """The variables as name and value, in their order."""
        return tuple((name, value) for name, _, value in (row.partition("=") for row in self.env))

    def variable(self, name: str) -> str | None:
        """The value of an environment variable; the last one counts, as in engines."""
        return dict(self.environment).get(name)
