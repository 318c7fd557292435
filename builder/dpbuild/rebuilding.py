"""``dpbuild rebuild``: an image made again from its own provenance, and what came of it."""

from collections.abc import Collection, Mapping
from typing import Any

from dpbuild import __version__
from dpbuild.built import BuildOptions
from dpbuild.comparing import diff
from dpbuild.errors import BaseImageError
from dpbuild.frozen import frozen, replace
from dpbuild.model.files import Committed, ProjectFile
from dpbuild.oci import mediatype
from dpbuild.oci.codec import decode
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import DaemonReference, LayoutReference, Reference
from dpbuild.pipeline import build
from dpbuild.ports.project import NOTHING, ProjectFolder
from dpbuild.ports.source import ImageSource, Referred
from dpbuild.ports.world import World
from dpbuild.stages.compare import Comparison
from dpbuild.stages.evidence.provenance import PREDICATE
from dpbuild.stages.evidence.recipe import Instructions, differences, instructions
from dpbuild.stages.evidence.referrers import PREDICATE_TYPE

_PYPROJECT = "pyproject.toml"
_OWN = "dpbuild.toml"


@frozen
class Rebuilt:
    """``before`` and ``after`` are the digests; ``reasons`` say, where they differ, which inputs do, and
    ``comparisons`` what came of it, for each platform.
    """

    before: Digest
    after: Digest
    reasons: tuple[str, ...] = ()
    comparisons: tuple[tuple[str, Comparison], ...] = ()


class _AsItWas:
    """The project with the configuration and the locks of the provenance. Nothing is written into it."""

    def __init__(self, project: ProjectFolder, told: Instructions) -> None:
        self._project = project
        self._told = told

    @property
    def directory(self) -> str:
        """Its absolute path."""
        return self._project.directory

    def read(self, name: str) -> str | None:
        """As the project has it, but for what the provenance says."""
        if name == _OWN:
            return None
        if name in self._told.locks:
            return self._told.locks[name]
        text = self._project.read(name)
        return _without_tool(text) if name == _PYPROJECT and text is not None else text

    def write(self, name: str, text: str) -> bool:
        """Nothing is kept."""
        return True

    def shelter(self) -> None:
        """Nothing: the output is elsewhere."""

    def app_files(self, include: tuple[str, ...], exclude: tuple[str, ...]) -> tuple[ProjectFile, ...]:
        """As the project has them."""
        return self._project.app_files(include, exclude)

    def build_files(self) -> tuple[ProjectFile, ...]:
        """As the project has them."""
        return self._project.build_files()

    def named(self, sources: tuple[str, ...]) -> tuple[ProjectFile, ...]:
        """As the project has them."""
        return self._project.named(sources)

    def lacking(self, source: str) -> str:
        """As the project says."""
        return self._project.lacking(source)

    def committed(
        self, files: Collection[str], ignorable: Mapping[str, str] = NOTHING, packed: Collection[str] = ()
    ) -> Committed:
        """Nothing: the provenance says the time of the files."""
        return Committed()

    def seen(self) -> dict[str, Any]:
        """As the project says."""
        return self._project.seen()

    def still(self, seen: dict[str, Any]) -> bool:
        """As the project says."""
        return self._project.still(seen)


def _without_tool(text: str) -> str:
    """``pyproject.toml`` without ``[tool.dpbuild]``, which may have changed since."""
    import tomlkit
    import tomlkit.exceptions

    try:
        document = tomlkit.parse(text)
    except tomlkit.exceptions.TOMLKitError:
        return text  # whoever reads it says what is wrong, and where
    tool = document.get("tool")
    if isinstance(tool, dict):
        tool.pop("dpbuild", None)
    return tomlkit.dumps(document)


def rebuild(reference: Reference, project: ProjectFolder, output: str, world: World) -> Rebuilt:
    """Build the image again, into the OCI layout ``output``, and compare.

    Raises BaseImageError where it carries no provenance that tells how, and whatever a build raises.
    """
    source = world.source(reference, (world.host,))
    root, _ = source.resolve()
    told = instructions(_statement(source, root.digest, str(reference)), root.digest)
    files = _files(project, told)
    options = BuildOptions(outputs=(output,), frozen=True, epoch=told.epoch, file_time=told.file_time)
    flags = {**told.config, "platforms": list(told.platforms), "evidence": False}
    built = build(_AsItWas(project, told), flags, options, world)
    after = built.images.descriptor.digest
    if after == root.digest:
        return Rebuilt(before=root.digest, after=after)
    reasons = [f"the file {line}" for line in differences(told, files)]
    if told.version != __version__:
        reasons.append(f"it was built by dpbuild {told.version}; this is {__version__}")
    new = LayoutReference(path=output, tag=None, digest=None)
    pairs = []
    for platform in told.platforms:
        old = reference if isinstance(reference, DaemonReference) else replace(reference, digest=root.digest)
        pairs.append((platform, diff(old, new, Platform.parse(platform), world)[2]))
    return Rebuilt(before=root.digest, after=after, reasons=tuple(reasons), comparisons=tuple(pairs))


def _files(project: ProjectFolder, told: Instructions) -> tuple[ProjectFile, ...]:
    """The project's files of the kind that the provenance lists."""
    match told.app:
        case "copy":
            config = told.config
            return project.app_files(tuple(config.get("include", ())), tuple(config.get("exclude", ())))
        case "wheel":
            return project.build_files()
        case _:
            return ()


def _statement(source: ImageSource, subject: Digest, where: str) -> bytes:
    """The provenance that refers to the image. Raises BaseImageError."""
    rows = source.referrers(subject) if isinstance(source, Referred) else ()
    for row in rows:
        said = dict(row.annotations).get(PREDICATE_TYPE, PREDICATE)
        if row.artifact_type == mediatype.IN_TOTO and said == PREDICATE:
            manifest = decode(source.manifest(row), row.media_type)
            if isinstance(manifest, Manifest) and manifest.layers:
                return b"".join(source.blob(manifest.layers[0]))
    raise BaseImageError(
        "the image carries no provenance, so it cannot be built again from it",
        where=where,
        hint="dpbuild build attaches it in registries and OCI layouts, unless evidence is turned off",
    )
