"""What a composed base is made of, for each suite: Debian's packages and distroless' own files, in order.

The lists are those of the distroless project's build files for ``python3``; one item becomes one layer.
"""

from typing import Final, Literal

from dpbuild.frozen import frozen

VARIANTS: Final = ("latest", "nonroot", "debug", "debug-nonroot")
# GOARCH's word to Debian's.
ARCHITECTURES: Final = {"amd64": "amd64", "arm64": "arm64"}

Step = Literal[
    "package",
    "rootfs",
    "passwd",
    "home",
    "group",
    "tmp",
    "nsswitch",
    "os_release",
    "cacerts",
    "busybox",
    "python_aliases",
    "ldconfig_cache",
]


@frozen
class Item:
    """One layer. ``package`` is the Debian package that it is made from, "" where there is none."""

    step: Step
    package: str = ""

    @property
    def label(self) -> str:
        """What the layer is called in the image's history."""
        return self.package if self.step == "package" else self.step


@frozen
class Suite:
    """One release of Debian. ``python`` is the interpreter's minor version; ``items`` are without debug's."""

    name: str
    codename: str
    version: str
    python: str
    items: tuple[Item, ...]

    def layers(self, variant: str) -> tuple[Item, ...]:
        """The layers of one variant, lowest first."""
        if not variant.startswith("debug"):
            return self.items
        at = next(index for index, item in enumerate(self.items) if item.step == "cacerts") + 1
        return (*self.items[:at], Item(step="busybox", package="busybox-static"), *self.items[at:])

    def packages(self, variant: str) -> tuple[str, ...]:
        """The names of the packages that are needed, each once, in order."""
        return tuple(dict.fromkeys(item.package for item in self.layers(variant) if item.package))


def _packages(text: str) -> tuple[Item, ...]:
    return tuple(Item(step="package", package=name) for name in text.split())


_FILES: Final = (
    Item(step="rootfs"),
    Item(step="passwd"),
    Item(step="home"),
    Item(step="group"),
    Item(step="tmp"),
    Item(step="nsswitch"),
    Item(step="os_release"),
    Item(step="cacerts", package="ca-certificates"),
)

DEBIAN_12: Final = Suite(
    name="debian12",
    codename="bookworm",
    version="12",
    python="3.11",
    items=(
        *_packages("base-files netbase tzdata media-types"),
        *_FILES,
        *_packages("libc6 libssl3"),
        *_packages("libgomp1 libstdc++6 libgcc-s1 gcc-12-base"),
        *_packages(
            "libbz2-1.0 libdb5.3 libexpat1 liblzma5 libsqlite3-0 libuuid1 libncursesw6 libtinfo6"
            " python3-distutils zlib1g libcom-err2 libcrypt1 libgssapi-krb5-2 libk5crypto3 libkeyutils1"
            " libkrb5-3 libkrb5support0 libnsl2 libreadline8 libtirpc3 libffi8"
            " libpython3.11-minimal libpython3.11-stdlib python3.11-minimal"
        ),
        Item(step="python_aliases"),
    ),
)

DEBIAN_13: Final = Suite(
    name="debian13",
    codename="trixie",
    version="13",
    python="3.13",
    items=(
        *_packages("base-files netbase tzdata tzdata-legacy media-types"),
        *_FILES,
        *_packages("libc6 libssl3t64 libzstd1 zlib1g"),
        *_packages("libgomp1 libstdc++6 libgcc-s1 gcc-14-base"),
        *_packages(
            "libbz2-1.0 libdb5.3t64 libexpat1 liblzma5 libsqlite3-0 libuuid1 libncursesw6 libtinfo6"
            # zlib1g is there twice in distroless, too: its C++ base has brought it already.
            " zlib1g libcom-err2 libcrypt1 libc-bin libgssapi-krb5-2 libk5crypto3 libkeyutils1"
            " libkrb5-3 libkrb5support0 libnsl2 libreadline8t64 libtirpc3t64 libffi8"
            " libpython3.13-minimal libpython3.13-stdlib python3.13-minimal python3.13-venv"
        ),
        Item(step="python_aliases"),
        Item(step="ldconfig_cache"),
    ),
)

SUITES: Final = {suite.name: suite for suite in (DEBIAN_12, DEBIAN_13)}
