"""INT: whether the interpreter starts, and with what it is told to."""

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from dpbuild.archive.entry import Kind
from dpbuild.model.finding import Severity
from dpbuild.stages.facts import MACHINES
from dpbuild.stages.facts_interpreter import which
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject

# The links that Debian's, Fedora's and Wolfi's merged /usr consists of.
_MERGED: Final = frozenset(("bin", "sbin", "lib", "lib32", "lib64", "usr/lib64", "usr/sbin"))
_BEGINNINGS: Final = tuple(sorted(_MERGED))
_VERSIONED: Final = re.compile(r"python(3\.\d+t?)d?")
_LIBRARY: Final = re.compile(r"(?:.*/)?lib(?:32|64)?/python(3\.\d+t?)/os\.pyc?")


def _interpreter(subject: Subject) -> str:
    """The real path of the interpreter, also where too much is broken for facts; "" if there is none."""
    if subject.facts is not None:
        return subject.facts.interpreter
    words = (subject.start.executable, "python3", "python")
    found = (which(subject.tree, subject.config, word) for word in words if word)
    return next((real for path in found if path and (real := subject.real(path))), "")


def _no_python(subject: Subject) -> Iterator[Found]:
    if subject.facts is not None:
        return
    causes = (row for look in (_unmerged, _loader, _library, _machine) for row in look(subject))
    if all(row.severity is Severity.WARNING for row in causes):
        yield Found(path=subject.program or "Entrypoint", evidence=subject.trouble)


def _unmerged(subject: Subject) -> Iterator[Found]:
    links: dict[str, tuple[int, str]] = {}
    # By link: the layer that has a folder in its place, and whether only files below it say so.
    folders: dict[str, tuple[int, bool]] = {}
    for layer, scan in enumerate(subject.scans):
        for entry in scan.entries:
            path = entry.path
            # Nearly all of the rest is below usr, too, but not below these.
            if not path.startswith(_BEGINNINGS):
                continue
            if path in _MERGED and entry.kind is Kind.SYMLINK:
                links[path] = (layer, entry.target)
                folders.pop(path, None)
                continue
            top = path if path in _MERGED else next((row for row in _below(path) if row in links), "")
            if top in links and links[top][0] != layer and (path != top or entry.kind is Kind.DIRECTORY):
                known = folders.setdefault(top, (layer, path != top))
                folders[top] = (known[0], known[1] and path != top)
    loader = _wanted_loader(subject)
    for path, (layer, implied) in sorted(folders.items()):
        below, target = links[path]
        has = any(f"/{entry.path}" == loader for entry in subject.scans[layer].entries)
        lost = loader.startswith(f"/{path}/") and (not has if implied else loader not in subject.tree)
        effect = f", so {loader}, which the interpreter asks the kernel for, is gone" if lost else ""
        what = "files below it, of which Docker's overlay2 makes a folder," if implied else "a folder"
        yield Found(
            path=f"/{path}",
            evidence=f"{subject.layer_name(layer)} has {what} where {subject.layer_name(below)} has the link"
            f" {path} -> {target}{effect}",
            severity=Severity.ERROR if lost else Severity.WARNING,
        )


def _below(path: str) -> tuple[str, ...]:
    """Which of the links a path may lie below: its first part, and the first two."""
    first, _, rest = path.partition("/")
    return (first, f"{first}/{rest.partition('/')[0]}") if rest else ()


def _wanted_loader(subject: Subject) -> str:
    elf = subject.scan(_interpreter(subject)).elf
    return elf.interp if elf is not None else ""


def _loader(subject: Subject) -> Iterator[Found]:
    replaced = any(row.severity is Severity.ERROR for row in _unmerged(subject))
    own, machine = _interpreter(subject), MACHINES.get(subject.platform.architecture)
    chain = (real for row in subject.start.chain if (real := subject.real(row)))
    for path in dict.fromkeys((*chain, own)):
        elf = subject.scan(path).elf if path else None
        if elf is None or not elf.interp or subject.tree.is_file(elf.interp):
            continue
        # Other rules' matters: a link that a layer replaces, a program for another machine.
        if (path == own and replaced) or (machine is not None and elf.machine != machine):
            continue
        yield Found(path=path, evidence=f"it asks for the loader {elf.interp}, which is not in the image")


def _library(subject: Subject) -> Iterator[Found]:
    path = _interpreter(subject)
    own = _VERSIONED.fullmatch(posixpath.basename(path))
    if subject.facts is not None or own is None:
        return
    others = {match[1]: "/" + row for row in subject.tree.paths() if (match := _LIBRARY.fullmatch(row))}
    if others and own[1] not in others:
        there = ", ".join(posixpath.dirname(row) for _, row in sorted(others.items()))
        yield Found(path=path, evidence=f"it is Python {own[1]}, but the image's standard library is {there}")


def _machine(subject: Subject) -> Iterator[Found]:
    wanted = MACHINES.get(subject.platform.architecture)
    for path in dict.fromkeys((*subject.start.chain, _interpreter(subject))):
        elf = subject.scan(path).elf if path else None
        if elf is not None and wanted is not None and elf.machine != wanted:
            yield Found(
                path=subject.real(path) or path,
                evidence=f"it is for {elf.machine}, but the config says {subject.platform}",
            )
            return


def _claims(subject: Subject) -> Iterator[Found]:
    facts = subject.facts
    for row in facts.version_claims if facts is not None else ():
        said = row.version.split(".")[:2]
        if facts is None or row.agrees or len(said) < 2 or said == [str(part) for part in facts.minor]:
            continue
        yield Found(
            path=facts.interpreter,
            evidence=f"it is Python {facts.version}, but {row.source} says {row.version}",
        )


RULES: Final = (
    Rule(
        id="INT001",
        severity=Severity.ERROR,
        title="no interpreter can be told from the files",
        symptom="the container does not start, or starts something else than Python",
        why="Neither Entrypoint, Cmd, PATH nor the usual places lead to a Python that is complete: an"
        " executable, its loader, its C library and its standard library.",
        fix="use a base with Python in it, and leave its files as they are",
        look=_no_python,
    ),
    Rule(
        id="INT003",
        severity=Severity.ERROR,
        title="a layer replaces a link of the merged /usr by a folder",
        symptom="exec /usr/bin/python3.13: no such file or directory",
        why="On the base, /lib64 and its like are links into /usr. A layer with a real folder of that name"
        " replaces the link, and everything below it is gone, the dynamic loader too. An archive that names files"
        " below the link does the same where Docker unpacks each layer by itself (overlay2); containerd follows the"
        " link. A folder that the interpreter does not need is a warning: it hides the base's files all the same.",
        fix="copy to the path behind the link (/usr/lib64 for /lib64), or leave the folder out of the layer",
        look=_unmerged,
    ),
    Rule(
        id="INT004",
        severity=Severity.ERROR,
        title="a program's loader is missing",
        symptom="exec /usr/bin/python3.13: no such file or directory, although the file is there",
        why="The kernel starts a dynamic program through the loader that the program names (PT_INTERP). An"
        " interpreter from a glibc system asks for ld-linux, one from Alpine for ld-musl; so does whatever else a"
        " container starts.",
        fix="take interpreter, programs and C library from the same base",
        look=_loader,
    ),
    Rule(
        id="INT009",
        severity=Severity.ERROR,
        title="the standard library is that of another version",
        symptom="Fatal Python error: init_fs_encoding: failed to get the Python codec of the filesystem encoding;"
        " ModuleNotFoundError: No module named 'encodings'",
        why="An interpreter works only with the standard library of its own minor version; a copied"
        " /usr/local/lib/python3.12 does not serve Python 3.13.",
        fix="take interpreter and standard library from the same base, and packages for that version",
        look=_library,
    ),
    Rule(
        id="INT010",
        severity=Severity.ERROR,
        title="the program is for another machine than the config says",
        symptom="exec /usr/bin/python3.13: exec format error",
        why="The image's config names a platform, but the executable is for another processor: files of one"
        " platform's image were copied into the other's.",
        fix="build for each platform from that platform's base",
        look=_machine,
    ),
    Rule(
        id="INT012",
        severity=Severity.WARNING,
        title="the image says another Python version than its interpreter has",
        symptom="ModuleNotFoundError for packages that are there; ImportError: … compiled for Python 3.11",
        why="PYTHON_VERSION, an annotation or the package database names one minor version, the interpreter is another:"
        " a tag or digest of the base moved on (python3:latest went from 3.11 to 3.13), or an interpreter was"
        " copied over the base's. What was installed for the version that is named does not fit.",
        fix="take the interpreter and what was made for it from one base, pinned by digest; mend or drop the claim",
        look=_claims,
    ),
)
