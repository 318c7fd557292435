"""Which Debian packages go on top of the base: what the configuration names, and what recipes say."""

from collections.abc import Callable, Iterable

from dpbuild.errors import ConfigError
from dpbuild.frozen import frozen
from dpbuild.model.base import Base
from dpbuild.model.config import Config
from dpbuild.model.lock import Lock, LockedPackage, LockedRuntime
from dpbuild.model.target import Target
from dpbuild.ports.debian import DebianPackages
from dpbuild.stages import recipes
from dpbuild.stages.select import applicable, best_wheel

# What ctypes.util.find_library asks; Debian 12's distroless has no ldconfig, and then it finds nothing.
_LDCONFIG = ("sbin/ldconfig", "usr/sbin/ldconfig")
_LDCONFIG_PACKAGE = "libc-bin"


@frozen(kw_only=False)
class Wanted:
    """``packages`` are names of Debian packages, ``without`` dependencies that are left out; both sorted."""

    packages: tuple[str, ...]
    without: tuple[str, ...] = ()


def wanted(
    config: Config, locked: Iterable[LockedPackage], target: Target, base: Base, note: Callable[[str], None]
) -> Wanted:
    """What the image needs of Debian for one platform.

    ``note`` takes what cannot be added because the base is not Debian's. Raises ConfigError (10) if the
    configuration names packages for such a base.
    """
    suite = recipes.suite_of(base.facts.distributor)
    if config.runtime_packages and not suite:
        raise ConfigError(
            f"runtime-packages are Debian's, and the base is {base.facts.distributor or 'of an unknown distributor'}",
            where=str(base.reference),
            hint="choose a base of Debian 12 or 13, or one that has the libraries already",
        )
    found = applicable(locked, target)
    names = {package.name for package in found}
    packages = set(config.runtime_packages)
    without: set[str] = set()
    for package in found:
        recipe = recipes.choose(package.name, package.version, suite, config.recipes)
        if recipe is None or not names.isdisjoint(recipe.run.unless):
            continue
        if recipe.run.when == "built" and not _built(package, target, config):
            continue
        run = recipe.run_on(suite)
        if suite:
            packages.update(run.packages)
            without.update(run.without)
        elif run.packages or recipe.runs:
            note(f"{package.name} needs libraries that its wheel does not bring: this base must have them")
    if packages and not any(base.tree.get(path) for path in _LDCONFIG):
        packages.add(_LDCONFIG_PACKAGE)
    return Wanted(tuple(sorted(packages)), tuple(sorted(without)))


def _built(package: LockedPackage, target: Target, config: Config) -> bool:
    """Whether the distribution comes from its sdist."""
    asked = package.name in config.no_binary or ":all:" in config.no_binary
    return asked or best_wheel(package.wheels, target) is None


def lock_runtime(
    want: Wanted, base: Base, previous: Lock | None, debian: Callable[[], DebianPackages]
) -> LockedRuntime | None:
    """The row of one platform for the lock; None if nothing is wanted.

    The one of ``previous`` stays if it is for the same base and the same packages. Raises
    UnsupportedRequirement (41), BaseImageError (20).
    """
    if not want.packages:
        return None
    platform, digest = str(base.platform), str(base.descriptor.digest)
    if previous is not None:
        row = previous.runtime_of(platform)
        same = row is not None and (row.wanted, row.without) == (want.packages, want.without)
        if same and any((each.platform, each.digest) == (platform, digest) for each in previous.bases):
            return row
    have = {row.name: row.version for row in base.facts.packages}
    pins, date = debian().close(want.packages, have, frozenset(want.without))
    return LockedRuntime(platform=platform, wanted=want.packages, without=want.without, packages=pins, date=date)
