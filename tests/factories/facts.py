"""Facts and targets as bases have them."""

from dpbuild.model.facts import Facts, Libc
from dpbuild.model.target import Target
from dpbuild.oci.platform import Platform
from dpbuild.stages.target import target

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def make_facts(
    version: str = "3.13.5",
    machine: str = "x86_64",
    *,
    libc: tuple[int, int] = (2, 41),
    musl: bool = False,
    gil_disabled: bool = False,
    debug: bool = False,
    implementation: str = "cpython",
    soabi: str | None = None,
) -> Facts:
    """The facts of a Debian-like base; ``libc`` is the version of glibc, or of musl."""
    minor = ".".join(version.split(".")[:2])
    flags = ("t" if gil_disabled else "") + ("d" if debug else "")
    word = soabi or f"cpython-{minor.replace('.', '')}{flags}-{machine}-linux-{'musl' if musl else 'gnu'}"
    return Facts(
        interpreter=f"/usr/bin/python{minor}",
        interpreter_sha256="0" * 64,
        version=version,
        implementation=implementation,
        soabi=word,
        extension_suffixes=(f".{word}.so", ".abi3.so", ".so"),
        gil_disabled=gil_disabled,
        debug=debug,
        machine=machine,
        libc=Libc(kind="musl" if musl else "glibc", version=libc, loader="/lib64/ld-linux-x86-64.so.2"),
        glibcxx="3.4.33",
        stdlib=f"/usr/lib/python{minor}",
        purelib=f"/usr/local/lib/python{minor}/dist-packages",
        scripts="/usr/local/bin",
        data="/usr/local",
        headers=f"/usr/local/include/python{minor}",
        site_directories=(f"/usr/local/lib/python{minor}/dist-packages",),
        distributor="debian:13",
        packages=(),
    )


def make_target(version: str = "3.13.5", machine: str = "x86_64", **facts: object) -> Target:
    """The target of ``make_facts`` with the same arguments."""
    made = make_facts(version, machine, **facts)  # type: ignore[arg-type]
    return target(made, Platform("linux", _ARCHITECTURES.get(machine, machine)))
