"""Where the packages of one run come from: this machine's indexes, or those that a builder reaches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from dpbuild.model.base import Base
from dpbuild.model.builder import BuilderPlan
from dpbuild.model.config import Config
from dpbuild.oci.platform import Platform
from dpbuild.ports.backend import Builders
from dpbuild.ports.fetcher import Fetcher
from dpbuild.ports.pip import Pip
from dpbuild.ports.resolver import Resolver
from dpbuild.ports.world import World
from dpbuild.stages.piptools import PipToolsResolver

_Key = tuple[str, tuple[str, ...]]


@dataclass(slots=True)
class Reach:
    """``plans`` gives the builders that are locked, by platform and packages."""

    world: World
    config: Config
    builders: Builders
    plans: Callable[[], Mapping[_Key, BuilderPlan]]
    unlocked: dict[_Key, BuilderPlan] = field(default_factory=dict)
    near: Base | None = None

    def resolver(self, base_of: Callable[[Platform], Base], chosen: str = "") -> Resolver:
        """The resolver of that name; without one, what the configuration says."""
        if chosen != "pip-tools" and (chosen or not self.config.builder.resolve):
            return self.world.resolver

        def pip(base: Base) -> Pip:
            return self.builders.pip(base, self._plan(base), self.config.directory)

        return PipToolsResolver(
            inner=self.world.resolver,
            pip=lambda goal: pip(base_of(goal.platform)),
            lists=lambda goal: pip(self._near(base_of(goal.platform))),
        )

    def fetcher(self, base: Base) -> Fetcher:
        """What downloads: this machine, or a builder for the base."""
        if not self.config.builder.resolve:
            return self.world.fetcher
        near = self._near(base)
        return self.builders.fetcher(near, partial(self._plan, near), self.config.directory, self.world.fetcher)

    def _near(self, base: Base) -> Base:
        """Files are the same whoever fetches them: a base of this machine, if one was seen, since emulation is slow."""
        if self.near is None or base.platform.architecture == self.world.host.architecture:
            self.near = base
        return self.near if self.near.facts.minor == base.facts.minor else base

    def _plan(self, base: Base) -> BuilderPlan | None:
        """Where packages are looked for: in the base, unless the configuration wants a builder.

        It need not be the one that is locked: what comes out of it is locked by its hash.
        """
        image = self.config.builder.image
        packages = () if image else tuple(sorted({*self.config.builder.packages}))
        if not image and not packages:
            return None
        key = str(base.platform), packages
        for kept in (self.plans(), self.unlocked):
            known = kept.get(key)
            if known is not None and (known.base, known.image) == (str(base.descriptor.digest), image):
                return known
        self.unlocked[key] = self.builders.plan(base, packages)
        return self.unlocked[key]
