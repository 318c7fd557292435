"""Extension modules as the import system sees them: which files can be which modules.

Several files may be the same module for different Pythons, side by side; only if none of them fits is something
wrong, and then the closest says what.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from dpbuild.elf.facts import ElfFacts
from dpbuild.frozen import frozen
from dpbuild.model.facts import Facts
from dpbuild.stages.proof.subject import Subject

# Names that only extension modules have: PEP 3149's tag, PyPy's, and the stable ABI's (PEP 384, PEP 803).
_TAGGED: Final = re.compile(
    r"(?P<stem>[^./]+)\.(?P<tag>(?:cpython|pypy|graalpy)-?[^./]+|abi3t?(?:-[^./]+)?|cp[0-9]+[^./]*)\.so"
)
_CPYTHON: Final = re.compile(r"cpython-(?P<minor>\d+)(?P<flags>[a-z]*)(?:-(?P<platform>.+))?")


@frozen
class Extension:
    """One file that is a module, or would be one elsewhere.

    ``path`` is as it is imported, ``real`` with all links resolved; ``folder`` is the entry of ``sys.path`` that it
    is below, resolved. ``tag`` is what its name says of the ABI, "" for a plain ``.so``, which may be a library
    that is no module at all.
    """

    path: str
    real: str
    folder: str
    module: str
    tag: str

    @property
    def plain(self) -> bool:
        """Whether only its place says that it may be a module."""
        return not self.tag


@frozen
class Module:
    """All files of one module. ``used`` is the one that is imported, None where only ``others`` are there."""

    name: str
    used: Extension | None
    others: tuple[Extension, ...]


def modules(subject: Subject, facts: Facts) -> Iterator[Module]:
    """The modules that have an extension module on ``sys.path``, by path.

    Those that a source of the same name stands for are left out.
    """
    found: dict[tuple[str, str], list[Extension]] = {}
    for row in _extensions(subject):
        found.setdefault((row.folder, row.module), []).append(row)
    for (_, name), rows in found.items():
        folder = rows[0].path.rpartition("/")[0]
        stem = name.rpartition(".")[2]
        names = {row.path.rpartition("/")[2]: row for row in rows}
        first = (names[stem + suffix] for suffix in facts.extension_suffixes if stem + suffix in names)
        used = next(first, None)
        if _is_package(subject, f"{folder}/{stem}"):
            continue
        if used is None and any(subject.tree.is_file(f"{folder}/{stem}{end}") for end in (".py", ".pyc")):
            continue
        yield Module(name=name, used=used, others=tuple(row for row in rows if row is not used))


def _is_package(subject: Subject, folder: str) -> bool:
    return any(subject.tree.is_file(f"{folder}/__init__{end}") for end in (".py", ".pyc"))


def _extensions(subject: Subject) -> Iterator[Extension]:
    folders: dict[str, str] = {}
    for folder in subject.sys_path:
        real = subject.real(folder)
        if real is not None:
            folders.setdefault(real, folder)
    for path, scan in subject.scanned.items():
        if (scan.elf is None and not scan.broken) or not path.endswith(".so"):
            continue
        # An inner entry of sys.path is where its files are imported from.
        real = next((folder for folder in _parents(path) if folder in folders), None)
        if real is None:
            continue
        rest = path[len(real) + 1 :]
        *parents, name = rest.split("/")
        match = _TAGGED.fullmatch(name)
        stem, tag = (match["stem"], match["tag"]) if match else (name.removesuffix(".so"), "")
        if all(part.isidentifier() for part in (*parents, stem)):
            # The path as it is imported; it may differ where folders are links.
            imported = f"{folders[real]}/{rest}"
            yield Extension(path=imported, real=path, folder=real, module=".".join((*parents, stem)), tag=tag)


def _parents(path: str) -> Iterator[str]:
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


@frozen
class Misfit:
    """Why the interpreter cannot import a file: ``kind`` is ``python``, ``machine``, ``libc`` or ``flags``."""

    kind: str
    evidence: str


def misfit(extension: Extension, elf: ElfFacts | None, facts: Facts) -> Misfit | None:
    """What keeps the interpreter from importing this file, by its name and its header; None if nothing does."""
    python = f"the interpreter is Python {facts.version} ({facts.soabi})"
    if elf is not None and elf.machine != facts.machine and not (elf.machine == "x32" or facts.machine == "x32"):
        return Misfit(kind="machine", evidence=f"it is for {elf.machine}, the interpreter for {facts.machine}")
    name = extension.path.rpartition("/")[2]
    stem = extension.module.rpartition(".")[2]
    if name.removeprefix(stem) in facts.extension_suffixes:
        return _libc(elf, facts)
    own, tag = _CPYTHON.fullmatch(facts.soabi), _CPYTHON.fullmatch(extension.tag)
    if own is None or tag is None:
        return Misfit(kind="python", evidence=f"it is for {extension.tag or 'another Python'}, {python}")
    if own["minor"] != tag["minor"]:
        minor = f"{tag['minor'][0]}.{tag['minor'][1:]}"
        return Misfit(kind="python", evidence=f"it is for Python {minor} ({extension.tag}), {python}")
    if own["flags"] != tag["flags"]:
        return Misfit(kind="flags", evidence=f"it is for {_flags(tag['flags'])} ({extension.tag}), {python}")
    if (other := _libc(elf, facts)) is not None:
        return other
    if "musl" in (tag["platform"] or "") and facts.libc.kind == "glibc":
        return Misfit(kind="libc", evidence=f"it is for musl ({extension.tag}), the base has {facts.libc}")
    if "gnu" in (tag["platform"] or "") and facts.libc.kind == "musl":
        return Misfit(kind="libc", evidence=f"it is for glibc ({extension.tag}), the base has {facts.libc}")
    return Misfit(kind="python", evidence=f"it is for {extension.tag}, {python}")


def _libc(elf: ElfFacts | None, facts: Facts) -> Misfit | None:
    if elf is None:
        return None
    musl = [name for name in elf.needed if name.startswith("libc.musl-") or name == "libc.so"]
    if musl and facts.libc.kind == "glibc":
        return Misfit(kind="libc", evidence=f"it needs {musl[0]}, which is musl's, the base has {facts.libc}")
    return None


def _flags(flags: str) -> str:
    names = [word for letter, word in (("t", "a free-threaded Python"), ("d", "a debug build")) if letter in flags]
    return " and ".join(names) or "a Python with the GIL"


def by_module(rows: tuple[Module, ...]) -> Mapping[str, Module]:
    """The modules by name, the first of each."""
    found: dict[str, Module] = {}
    for row in rows:
        found.setdefault(row.name, row)
    return found
