"""Files of images with a Python in them: nothing runs, but everything that facts are read from is there."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from factories.elf import make_elf
from factories.image import File, Files, Link, make_tar

from dpbuild.archive.overlay import FileTree
from dpbuild.archive.read import entries, open_layer
from dpbuild.model.facts import Facts
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Pairs
from dpbuild.oci.platform import Platform
from dpbuild.stages.contents import MappedContents
from dpbuild.stages.facts import read_facts

AMD64 = Platform("linux", "amd64")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TRIPLES = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu", "arm": "arm-linux-gnueabihf"}
LOADERS = {
    "x86_64": "lib64/ld-linux-x86-64.so.2",
    "aarch64": "lib/ld-linux-aarch64.so.1",
    "arm": "lib/ld-linux-armhf.so.3",
}


def glibc(version: str = "2.41", machine: str = "x86_64", *, banner: bool = True, glibcxx: str = "3.4.33") -> Files:
    """The C library, its loader and libstdc++ in Debian's merged layout."""
    triple, loader = TRIPLES[machine], LOADERS[machine]
    text = b"GNU C Library (Debian GLIBC %s-1) stable release version %s.\n" % ((version.encode(),) * 2)
    symbols = ("GLIBC_2.2.5", "GLIBC_2.9", f"GLIBC_{version}", "GLIBC_PRIVATE")
    files: Files = {
        f"usr/lib/{triple}/libc.so.6": make_elf(
            machine, soname="libc.so.6", verdef=symbols, payload=text if banner else b""
        ),
        f"usr/lib/{triple}/{loader.rpartition('/')[2]}": make_elf(machine),
        "lib": Link("usr/lib"),
        "lib64": Link("usr/lib64"),
        "bin": Link("usr/bin"),
    }
    folder, name = loader.rsplit("/", 1)
    files[f"usr/{folder}/{name}"] = Link(f"{'../lib' if folder == 'lib64' else '.'}/{triple}/{name}")
    if glibcxx:
        versions = ("GLIBCXX_3.4", "GLIBCXX_3.4.9", f"GLIBCXX_{glibcxx}", "CXXABI_1.3.15")
        files[f"usr/lib/{triple}/libstdc++.so.6.0.33"] = make_elf(machine, soname="libstdc++.so.6", verdef=versions)
        files[f"usr/lib/{triple}/libstdc++.so.6"] = Link("libstdc++.so.6.0.33")
    return files


def hex_version(version: str, machine: str = "x86_64") -> bytes:
    """PY_VERSION_HEX of a final release, as the machine keeps an unsigned long."""
    major, minor, patch = (int(part) for part in version.split("."))
    size = 4 if machine in ("arm", "i686") else 8
    return (major << 24 | minor << 16 | patch << 8 | 0xF0).to_bytes(size, "little")


def _stable(minor: str, machine: str, debian: bool) -> tuple[str, ...]:
    """What the program's table of suffixes says of stable ABIs."""
    return ("abi3", f"abi3-{TRIPLES[machine]}") if debian else ("abi3",)


def python(
    version: str = "3.13.5",
    *,
    prefix: str = "usr",
    machine: str = "x86_64",
    interp: str | None = None,
    shared: bool = False,
    debian: bool = False,
    threads: str = "",
    variables: dict[str, object] | None = None,
    sysconfig: bool = True,
    dynload: bool = True,
    export: bool = True,
    text: bytes = b"",
    stable: tuple[str, ...] = (),
    library: str = "lib",
    built_in: Iterable[str] = (),
    modules: Iterable[str] = (),
) -> Files:
    """An interpreter with its standard library under ``prefix``; ``shared``: it is in a libpython.

    ``built_in`` are modules in the program, ``modules`` those that are files; ``library`` is ``sys.platlibdir``.
    """
    minor = ".".join(version.split(".")[:2])
    name = f"python{minor}{threads}"
    soabi = f"cpython-{minor.replace('.', '')}{threads}-{TRIPLES[machine]}"
    symbols = {"Py_Version": hex_version(version, machine)} if export and int(minor.split(".")[1]) >= 11 else {}
    words = b"\0site-packages\0" + (b"dist-packages\0" if debian else b"") + text
    words += b"\0".join(f".{name}.so".encode() for name in (*(stable or _stable(minor, machine, debian)), "x")) + b"\0"
    words += b"".join(b"\0PyInit_%s\0" % name.encode() for name in built_in)
    loader = f"/{LOADERS[machine]}" if interp is None else interp
    stdlib = f"{prefix}/{library}/{name}"
    files: Files = {}
    if shared:
        soname = f"lib{name}.so.1.0"
        files[f"{prefix}/{library}/{soname}"] = make_elf(machine, soname=soname, symbols=symbols, payload=words)
        files[f"{prefix}/bin/{name}"] = make_elf(
            machine, interp=loader, needed=(soname, "libc.so.6"), runpath=f"$ORIGIN/../{library}"
        )
    else:
        files[f"{prefix}/bin/{name}"] = make_elf(
            machine, type="executable", interp=loader, needed=("libm.so.6", "libc.so.6"), symbols=symbols, payload=words
        )
    files[f"{prefix}/bin/python3"] = Link(name)
    files[f"{stdlib}/os.py"] = File(b"")
    files[f"{stdlib}/site.py"] = File(b"'dist-packages'" if debian else b"'site-packages'")
    files |= {f"{stdlib}/{module}.py": File(b"") for module in modules}
    if sysconfig:
        values: dict[str, object] = {
            "VERSION": minor,
            "SOABI": soabi,
            "EXT_SUFFIX": f".{soabi}.so",
            "MULTIARCH": TRIPLES[machine],
            "Py_DEBUG": 0,
            "Py_GIL_DISABLED": int(bool(threads)),
            "PLATLIBDIR": library,
        }
        source = f"# made by a build\nbuild_time_vars = {values | (variables or {})!r}\n"
        own = f"{stdlib}/_sysconfigdata_{threads}_linux_{TRIPLES[machine]}.py"
        files[own] = File(source.encode())
        if debian:
            files[f"{stdlib}/_sysconfigdata__{TRIPLES[machine]}.py"] = Link(own.rpartition("/")[2])
    if dynload:
        files[f"{stdlib}/lib-dynload/_json.{soabi}.so"] = make_elf(machine)
    return files


def debian(version: str = "3.13.5", glibc_version: str = "2.41", machine: str = "x86_64") -> tuple[Files, ...]:
    """The layers of a distroless base: system, packages' records, Python."""
    status = "Package: {}\nSource: {}\nVersion: {}\nArchitecture: amd64\nDescription: x\n more: of it\n\n"
    return (
        {
            "usr/lib/os-release": 'PRETTY_NAME="Distroless"\nID="debian"\nVERSION_ID="13"\n',
            "etc/os-release": Link("../usr/lib/os-release"),
            "var/lib/dpkg/status.d/libc6": status.format("libc6", "glibc (2.41)", "2.41-12"),
            "var/lib/dpkg/status.d/libc6.md5sums": "Package: no\nVersion: no\n",
        },
        glibc(glibc_version, machine),
        {
            **python(version, machine=machine, debian=True),
            "var/lib/dpkg/status.d/python3.13-minimal": status.format("python3.13-minimal", "python3.13", "3.13.5-2"),
        },
    )


def image_facts(
    *layers: Files,
    entrypoint: tuple[str, ...] = (),
    cmd: tuple[str, ...] = (),
    env: tuple[str, ...] = (PATH,),
    platform: Platform = AMD64,
    annotations: Pairs = (),
    working_dir: str = "",
    user: str = "",
) -> Facts:
    """The facts of an image with these layers."""
    rows, data = [], {}
    for number, layer in enumerate(layers):
        stream, _ = open_layer(io.BytesIO(make_tar(layer)), limit=1 << 30)
        row = []
        for ordinal, (entry, content) in enumerate(entries(stream)):
            row.append(entry)
            if content is not None:
                data[number, ordinal] = content.read()
        rows.append(row)
    tree = FileTree.of(rows)
    contents = MappedContents(tree, lambda path: data[tree.origin(path)])
    config = ImageConfig(platform=platform, entrypoint=entrypoint, cmd=cmd, env=env, working_dir=working_dir, user=user)
    return read_facts(tree, contents, config, platform, annotations)


class QuietStep:
    """A step that tells nobody."""

    def advance(self, amount: int) -> None:
        """Nothing."""

    def done(self, result: str) -> None:
        """Nothing."""


class Notes:
    """A reporter that remembers the titles of its steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []

    @contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator[QuietStep]:
        """Remember the title."""
        self.steps.append(title)
        yield QuietStep()

    def note(self, text: str) -> None:
        """Remember the note."""
        self.notes.append(text)
