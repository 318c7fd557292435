"""What an image was made from, as far as its provenance tells it."""

from dpbuild.frozen import frozen
from dpbuild.model.artifact import Artifact
from dpbuild.model.base import Base
from dpbuild.model.config import Config
from dpbuild.model.files import ProjectFile
from dpbuild.model.image import Image
from dpbuild.model.lock import LockedFile, LockedPackage
from dpbuild.oci.descriptor import Descriptor

Chosen = tuple[tuple[LockedPackage, LockedFile], ...]


@frozen
class Made:
    """One platform's image with its base and the files that the lock chose for it.

    ``packages`` are those of a composed base, ``runtime`` those on top of any, ``inside`` those that libraries in
    repaired wheels were copied from: name, version and the sha256 of the .deb.
    """

    image: Image
    base: Base
    wheels: Chosen = ()
    packages: tuple[tuple[str, str, str], ...] = ()
    runtime: tuple[tuple[str, str, str], ...] = ()
    inside: tuple[tuple[str, str, str], ...] = ()


@frozen
class Evidence:
    """The documents about one manifest or index: an SBOM in CycloneDX' JSON, and an in-toto statement."""

    subject: Descriptor
    sbom: bytes
    provenance: bytes


@frozen
class Inputs:
    """What all platforms share.

    ``epoch`` and ``file_time`` are in seconds: the image's time and that of the app's files. ``lock`` and
    ``build_lock`` are the texts of the two locks. ``files`` are the configuration's ``files`` and certificates by
    their names or places, with their sha256 in hex. ``revision`` is the commit that the project's folder is,
    exactly, or "". ``builder`` is the base that the app's wheel was built with.
    """

    config: Config
    kind: str
    version: str
    epoch: int
    file_time: int
    lock: str
    build_lock: str = ""
    build_wheels: Chosen = ()
    builder: Base | None = None
    app_wheel: Artifact | None = None
    sources: tuple[ProjectFile, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    revision: str = ""
