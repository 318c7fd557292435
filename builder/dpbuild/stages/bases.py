"""The bases of one run: every reference is resolved once, every platform read once."""

from typing import BinaryIO, Final

from dpbuild.errors import BaseImageError, ConfigError, NotFound, RateLimited, RegistryError, Unauthorized, UsageError
from dpbuild.frozen import replace
from dpbuild.model.base import Base
from dpbuild.model.config import Config
from dpbuild.model.lock import Lock
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import (
    ArchiveReference,
    ComposeReference,
    DaemonReference,
    LayoutReference,
    Reference,
    RegistryReference,
)
from dpbuild.ports.source import ImageSource
from dpbuild.ports.store import DamagedEntry
from dpbuild.ports.world import World
from dpbuild.stages.base import Fetched, read_base
from dpbuild.stages.compiler import SandboxCompiler

# Google's images of which the same can be made of Debian's packages: the suite by the image's name, and the tags.
_SUITES: Final = {f"gcr.io/distroless/python3-{suite}": suite for suite in ("debian12", "debian13")}
_VARIANTS: Final = ("latest", "nonroot")


class Bases:
    """``pinned`` is the lock whose base is used; None where the base is to be looked up again.
    ``fetched`` is told of the layers of each base that has to be read, before it is.
    """

    def __init__(
        self,
        world: World,
        config: Config,
        pinned: Lock | None,
        fetched: Fetched = lambda layers, diff_ids: None,
    ) -> None:
        self.world = world
        self.config = config
        self.pinned = pinned
        self.fetched = fetched
        self.sources: dict[str, ImageSource] = {}
        self.read: dict[Platform, Base] = {}

    def get(self, platform: Platform) -> Base:
        """The base for a platform. Raises BaseImageError and what its source raises."""
        if platform not in self.read:
            self._trusted(platform)
            world, source = self.world, self.source(platform)
            try:
                base = read_base(self.config.base, source, platform, world.store, world.reporter, self.fetched)
            except RegistryError as problem:
                raise _with_a_way_out(problem, self.config.base) from None
            self._as_locked(base)
            self.read[platform] = base
        return self.read[platform]

    def _trusted(self, platform: Platform) -> None:
        """Nothing of a base is read before its signature was checked, if one is demanded. Raises BaseImageError."""
        if not self.config.base_key:
            return
        if isinstance(self.config.base, ComposeReference):
            raise ConfigError(
                "verify.base-key cannot be checked: a composed base has no signature of its own",
                where=str(self.config.base),
                hint="Debian's archive keys vouch for it always; remove the key",
            )
        try:
            verifier = self.world.verifier(self.config.base_key.encode(), "verify.base-key")
        except UsageError as problem:
            raise ConfigError(problem.what, where=problem.where, hint=problem.hint) from None
        from dpbuild.stages.evidence.trust import require_signature

        require_signature(self.source(platform), verifier, self.world.store, str(self.config.base))

    def _as_locked(self, base: Base) -> None:
        """What only a name leads to may have changed behind it. Raises BaseImageError."""
        reference, lock = self.config.base, self.pinned
        if lock is None or lock.base_reference != str(reference):
            return
        row = next((each for each in lock.bases if each.platform == str(base.platform)), None)
        if (
            isinstance(reference, ArchiveReference | DaemonReference)
            and row
            and row.digest != str(base.descriptor.digest)
        ):
            raise BaseImageError(
                f"the base is {base.descriptor.digest} now, and the lock is for {row.digest}",
                where=str(reference),
                hint="dpbuild lock --upgrade-base takes what is there now",
            )

    def source(self, platform: Platform) -> ImageSource:
        """Where it is read from: pinned to the lock's digest, if the lock is for this base."""
        base, lock = self.config.base, self.pinned
        composed = isinstance(base, ComposeReference)
        key = str(platform) if composed else ""
        if key not in self.sources:
            reference = base
            packages: tuple[tuple[str, str, str], ...] = ()
            if lock is not None and lock.base_reference == str(base):
                row = next((each for each in lock.bases if each.platform == str(platform)), None)
                if isinstance(base, ComposeReference) and row is not None:
                    reference = replace(base, digest=Digest.parse(row.digest))
                    packages = row.packages
                elif isinstance(base, RegistryReference | LayoutReference) and lock.base_digest:
                    reference = replace(base, digest=Digest.parse(lock.base_digest))
            self.sources[key] = self.world.source(reference, (platform,), self.config, packages)
        return self.sources[key]

    def compiler(self, base: Base) -> SandboxCompiler:
        """The base's interpreter; the base is extracted when something has to be compiled."""
        optimize = dict(self.config.env).get("PYTHONOPTIMIZE", "")
        level = min(int(optimize), 2) if optimize.isdigit() else int(bool(optimize))
        return SandboxCompiler(
            base.facts, lambda: (self.world.interpreter(base), self.world.rootfs(base, self.blob)), level
        )

    def fetch(self, descriptor: Descriptor) -> None:
        """Bring a layer of a base into the store, if it is not there."""
        self.blob(descriptor).close()

    def blob(self, descriptor: Descriptor) -> BinaryIO:
        """A layer: from the store, or fetched into it from the base. Raises DamagedEntry for one of our own."""
        store = self.world.store
        try:
            return store.open(descriptor.digest)
        except KeyError as problem:
            owners = [
                platform
                for platform, base in self.read.items()
                if any(layer.digest == descriptor.digest for layer in base.manifest.layers)
            ]
            if not owners:
                raise DamagedEntry(str(descriptor.digest)) from problem
        source = self.source(owners[0])
        with store.writer() as writer:
            for chunk in source.blob(descriptor):
                writer.write(chunk)
            writer.commit(descriptor.digest)
        return store.open(descriptor.digest)


def _with_a_way_out(problem: RegistryError, base: Reference) -> RegistryError:
    """Where Google's registry cannot be reached: what makes the same base of Debian's packages."""
    # Whoever was refused, or asked for what is not there, has reached it.
    if not isinstance(base, RegistryReference) or isinstance(problem, Unauthorized | NotFound | RateLimited):
        return problem
    suite, variant = _SUITES.get(base.name), base.tag or "latest"
    if suite is None or variant not in _VARIANTS:
        return problem
    hint = f"the base compose:{suite}:{variant} is made here of Debian's packages, and needs no registry"
    return type(problem)(problem.what, where=problem.where, hint=f"{problem.hint}; {hint}" if problem.hint else hint)
