"""An engine as a runner of images."""

import contextlib
from collections.abc import Callable
from typing import Any, BinaryIO

from dpbuild.adapters.sandbox.connect import engine_name
from dpbuild.adapters.sandbox.engine import run_image
from dpbuild.adapters.sink.docker import DockerSink
from dpbuild.model.image import Images
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.platform import Platform
from dpbuild.ports.reporter import Reporter
from dpbuild.ports.runner import Start


class EngineRunner:
    """Implements ``ports.runner.Runner``. ``connect`` gives a ``docker.APIClient`` or raises SandboxError, here too."""

    def __init__(self, connect: Callable[[], Any], host: Platform, reporter: Reporter) -> None:
        client = connect()
        self.name = engine_name(client)
        client.close()
        self._connect = connect
        self._host = host
        self._reporter = reporter

    def run(self, image: str, start: Start) -> int:
        """Run an image that the engine has."""
        client = self._connect()
        try:
            return run_image(client, image, start).status
        finally:
            client.close()

    def load_and_run(self, images: Images, blob: Callable[[Descriptor], BinaryIO], start: Start) -> int:
        """Load an image, run it, and remove it if it was not there before."""
        import docker.errors

        sink = DockerSink(self._connect, (), blob, self._host, self._reporter)
        written = sink.write(images)
        name = written.reference.partition(":")[2]
        try:
            return self.run(name, start)
        finally:
            if written.sent:
                client = self._connect()
                # Somebody else may have tagged or used it meanwhile; then it stays.
                with contextlib.suppress(docker.errors.DockerException):
                    client.remove_image(name)
                client.close()
