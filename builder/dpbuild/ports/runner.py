"""An engine that runs images."""

from collections.abc import Callable
from typing import BinaryIO, Protocol

from dpbuild.frozen import frozen
from dpbuild.model.image import Images
from dpbuild.oci.descriptor import Descriptor


@frozen
class Published:
    """A TCP ``port`` of the image that ``address`` of this machine answers for at the port ``host``."""

    port: int
    host: int
    address: str = "127.0.0.1"


@frozen
class Start:
    """How an image is started: ``arguments`` replace its Cmd if there are any, ``env`` is laid over its own."""

    arguments: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    ports: tuple[Published, ...] = ()


class Runner(Protocol):
    """Raises SandboxError."""

    @property
    def name(self) -> str:
        """What the user reads: ``docker`` or ``podman``."""

    def run(self, image: str, start: Start) -> int:
        """Run an image that the engine has; the program's exit status."""

    def load_and_run(self, images: Images, blob: Callable[[Descriptor], BinaryIO], start: Start) -> int:
        """Load an image, run it, and remove it if it was not there before."""
