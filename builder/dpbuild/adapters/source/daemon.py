"""An image that an engine has (``docker-daemon:``), read through the API that ``docker save`` uses.

The engine is asked for the image's id first. What was read of that id before is in the store, and the image is not
exported again until a layer of it is missing there.
"""

import contextlib
import json
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from dpbuild.adapters.sandbox.trouble import problems
from dpbuild.adapters.source.archive import DockerArchiveSource, TarFiles
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import NotFound
from dpbuild.oci.codec import canonical, encode_descriptor
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import ArchiveReference, DaemonReference
from dpbuild.ports.reporter import Reporter

_KIND: Final = "bases"
# Part of the key of what is kept: whoever changes the manifest that is made of an export changes this.
_FORMAT: Final = 1


class DaemonSource:
    """The ImageSource port on an engine's image. ``connect`` gives the Docker SDK's low-level client.

    Raises NotFound (92) for an image that the engine does not have, SandboxError (100) for one that does not answer.
    """

    def __init__(
        self, reference: DaemonReference, connect: Callable[[], Any], store: DiskStore, reporter: Reporter
    ) -> None:
        self._reference = reference
        self._where = str(reference)
        self._connect = connect
        self._store = store
        self._reporter = reporter
        self._resolved: tuple[Descriptor, bytes] | None = None
        self._id = ""
        self._exported: DockerArchiveSource | None = None
        self._lock = threading.Lock()

    def resolve(self) -> tuple[Descriptor, bytes]:
        """The manifest of the image."""
        if self._resolved is None:
            self._id = self._ask(lambda client: str(client.inspect_image(self._reference.name)["Id"]))
            self._resolved = self._known() or self._read()
        return self._resolved

    def manifest(self, descriptor: Descriptor) -> bytes:
        """The bytes of the manifest or of the config."""
        found, data = self.resolve()
        return data if found.digest == descriptor.digest else self._archive().manifest(descriptor)

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a layer, verified at their end."""
        self.resolve()
        return self._archive().blob(descriptor)

    def _key(self) -> str:
        return f"docker-daemon {_FORMAT} {self._id}"

    def _known(self) -> tuple[Descriptor, bytes] | None:
        kept = self._store.get(_KIND, self._key())
        if kept is None:
            return None
        row = json.loads(kept)
        digest = Digest.parse(row["digest"])
        try:
            with self._store.open(digest) as file:
                return Descriptor(media_type=row["mediaType"], digest=digest, size=row["size"]), file.read()
        except KeyError:
            return None

    def _read(self) -> tuple[Descriptor, bytes]:
        descriptor, data = self._archive().resolve()
        with self._store.writer() as writer:
            writer.write(data)
            writer.commit(descriptor.digest)
        self._store.put(_KIND, self._key(), canonical(encode_descriptor(descriptor)))
        return descriptor, data

    def _archive(self) -> DockerArchiveSource:
        with self._lock:
            if self._exported is None:
                reference = ArchiveReference(kind="docker-archive", path=str(self._export()))
                self._exported = DockerArchiveSource(reference, TarFiles(reference), where=self._where)
                # Everything of it is described once, here, so that several threads may read layers.
                self._exported.resolve()
            return self._exported

    def _export(self) -> Path:
        """The image in a file of the store's, gone when nobody needs this source any more."""
        try:
            handle, name = tempfile.mkstemp(dir=self._store.path / "tmp", prefix="image-")
        except OSError as problem:
            self._store.fail(problem, self._store.path)
        path = Path(name)
        gone = weakref.finalize(self, path.unlink, missing_ok=True)

        def save(client: Any) -> None:
            with (
                os.fdopen(handle, "wb") as file,
                self._reporter.step(f"reading {self._reference.name} out of the engine") as step,
            ):
                # By its id: the name may move meanwhile.
                for chunk in client.get_image(self._id):
                    try:
                        file.write(chunk)
                    except OSError as problem:
                        self._store.fail(problem, self._store.path)
                    step.advance(len(chunk))

        try:
            self._ask(save)
        except BaseException:
            gone()
            raise
        return path

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        import docker.errors

        client = self._connect()
        try:
            with problems("the engine does not give the image", where=self._where):
                try:
                    return question(client)
                except docker.errors.ImageNotFound:
                    raise NotFound(
                        "the engine has no such image", where=self._where, hint="docker image ls shows what it has"
                    ) from None
        finally:
            with contextlib.suppress(OSError):
                client.close()
