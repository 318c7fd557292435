"""A base in memory: facts, and a few entries."""

from collections.abc import Iterable

from factories.facts import make_facts

from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.model.base import Base
from dpbuild.oci import mediatype
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import parse

PLATFORM = Platform("linux", "amd64")


def make_base(entries: Iterable[Entry] = (Entry(path="usr", kind=Kind.DIRECTORY, mode=0o755),)) -> Base:
    """Python 3.13 of Debian with these files."""
    descriptor = Descriptor(media_type=mediatype.OCI_MANIFEST, digest=Digest("0" * 64), size=1)
    return Base(
        reference=parse("registry.example/base:1"),
        root=descriptor,
        descriptor=descriptor,
        platform=PLATFORM,
        manifest=Manifest(media_type=mediatype.OCI_MANIFEST, config=descriptor, layers=()),
        config=ImageConfig(platform=PLATFORM, env=("PATH=/usr/local/bin:/usr/bin",)),
        facts=make_facts(),
        tree=FileTree.of([entries]),
    )
