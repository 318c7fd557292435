"""The builder as a value, and the second lock: what sdists and the app are built with."""

from dpbuild.frozen import frozen
from dpbuild.model.lock import Lock


@frozen
class BuilderPlan:
    """What a builder is made of, over the layers of a base.

    ``base`` is the digest of that base's manifest, ``platform`` as in ``linux/amd64``. ``wanted`` are the Debian
    packages that were asked for beside the usual ones, ``pins`` (name, version, sha256) of all that are added.
    ``image`` is the reference of an image that is used instead, as configured, and ``image_digest`` what it named;
    both are "" for none.
    """

    platform: str
    base: str
    suite: str = ""
    wanted: tuple[str, ...] = ()
    pins: tuple[tuple[str, str, str], ...] = ()
    image: str = ""
    image_digest: str = ""


@frozen
class BuildLock:
    """``pylock.dpbuild-build.toml``: the build requirements of each unit (the app, an sdist) for each platform, and
    the builders. ``units`` are (name, platform) and the lock of what it is built with.
    """

    units: tuple[tuple[tuple[str, str], Lock], ...] = ()
    builders: tuple[BuilderPlan, ...] = ()
