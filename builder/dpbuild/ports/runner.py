"""An engine that runs images."""

from collections.abc import Callable
from typing import BinaryIO, Protocol

from dpbuild.model.image import Images
from dpbuild.oci.descriptor import Descriptor


class Runner(Protocol):
    """Raises SandboxError."""

    @property
    def name(self) -> str:
        """What the user reads: ``docker`` or ``podman``."""

    def run(self, image: str, arguments: tuple[str, ...]) -> int:
        """Run an image that the engine has; the program's exit status."""

    def load_and_run(self, images: Images, blob: Callable[[Descriptor], BinaryIO], arguments: tuple[str, ...]) -> int:
        """Load an image, run it, and remove it if it was not there before."""
