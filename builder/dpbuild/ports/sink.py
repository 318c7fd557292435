"""Where images go."""

from typing import Protocol

from dpbuild.model.image import Images, Written


class ImageSink(Protocol):
    """One destination."""

    def check(self) -> None:
        """Refuse early what cannot work: not empty, read-only, no engine. Raises OutputError, SandboxError."""

    def write(self, images: Images) -> Written:
        """Write all of it; nothing is visible before everything is there."""
