"""The facts of a base: everything later stages reason over, read from its files and never by running it."""

from typing import Literal

from dpbuild.frozen import field, frozen
from dpbuild.model.surroundings import Surroundings


@frozen
class Libc:
    """The C library: its kind, its version, and the path of its dynamic loader in the image, links resolved."""

    kind: Literal["glibc", "musl"]
    version: tuple[int, int]
    loader: str

    def __str__(self) -> str:
        return f"{self.kind} {self.version[0]}.{self.version[1]}"


@frozen(order=True)
class SystemPackage:
    """A package of the base's own package manager."""

    name: str
    version: str
    architecture: str = ""
    source: str = ""


@frozen
class PackageDatabase:
    """Where a package manager keeps its records in the image; ``read`` is False for formats that are not read."""

    kind: Literal["dpkg", "apk", "chisel", "rpm manifest", "rpm sqlite", "rpm bdb", "rpm ndb"]
    path: str
    read: bool = True


@frozen
class VersionClaim:
    """What somebody else says of Python's version: an annotation, an environment variable, a package."""

    source: str
    version: str
    agrees: bool


@frozen
class VirtualEnvironment:
    """The virtual environment that the image starts its interpreter in (``pyvenv.cfg``, PEP 405)."""

    prefix: str
    site_directories: tuple[str, ...]
    system_site_packages: bool


@frozen
class Facts:
    """What is known of the interpreter and its surroundings; all paths are absolute paths in the image.

    ``interpreter`` is the path that the image's entrypoint or search found with all symbolic links resolved,
    ``version`` is to the patch level (``3.13.5``), ``soabi`` for example ``cpython-313-x86_64-linux-gnu``,
    ``machine`` the word of ``platform.machine()`` (``x86_64``, ``aarch64``).
    ``purelib``, ``scripts``, ``data`` and ``headers`` are where wheels are installed; each distribution has a
    folder of its own below ``headers``. ``glibcxx`` is libstdc++'s newest GLIBCXX version (``3.4.33``), or "".
    ``distributor`` is ID and VERSION_ID of os-release joined by a colon (``debian:13``), or "".
    ``missing_modules`` are the modules of the version's standard library that cannot be imported because they are
    not there, None where that cannot be told. ``path_file`` is the ``._pth`` beside the program that replaces
    ``sys.path``, or "". ``version_claims`` are cross-checks of ``version``, which is read from the program.
    """

    interpreter: str
    interpreter_sha256: str
    version: str
    implementation: str
    soabi: str
    extension_suffixes: tuple[str, ...]
    gil_disabled: bool
    debug: bool
    machine: str
    libc: Libc
    glibcxx: str
    stdlib: str
    purelib: str
    scripts: str
    data: str
    headers: str
    site_directories: tuple[str, ...]
    distributor: str
    packages: tuple[SystemPackage, ...]
    package_databases: tuple[PackageDatabase, ...] = ()
    missing_modules: tuple[str, ...] | None = None
    version_claims: tuple[VersionClaim, ...] = ()
    virtual_environment: VirtualEnvironment | None = None
    path_file: str = ""
    surroundings: Surroundings = field(default_factory=Surroundings)

    @property
    def minor(self) -> tuple[int, int]:
        """``(3, 13)``."""
        major, minor, *_ = self.version.split(".")
        return int(major), int(minor)
