"""LAY: files of the base that were overwritten, and files that the image's user cannot use."""

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Final

from dpbuild.archive.entry import Kind
from dpbuild.model.finding import Severity
from dpbuild.stages.proof.accounts import blocked
from dpbuild.stages.proof.app import executed, find_app
from dpbuild.stages.proof.rule import Found, Rule
from dpbuild.stages.proof.subject import Subject

_STATUS_D: Final = "var/lib/dpkg/status.d"
_DPKG_INFO: Final = "var/lib/dpkg/info"
# The loader and the C library check that they are of one build (symbols of version GLIBC_PRIVATE).
_LIBC: Final = re.compile(r"/libc\.so\.6|/libc-2\.\d+\.so")
_LOADER: Final = re.compile(r"/ld-linux[^/]*\.so\.\d|/ld-2\.\d+\.so|/ld64\.so\.\d")
# What images replace on purpose: distroless has a name of its own, and documents and time zones run nothing.
_HARMLESS: Final = re.compile(r"usr/lib/os-release|etc/.*|usr/share/.*|var/.*")
_MOST: Final = 20
_SETUID: Final = 0o6000
# What everybody may read, and look into.
_READABLE: Final = 0o444
_OPEN_TO_ALL: Final = 0o555
# Folders where everybody may write on purpose.
_OPEN: Final = ("tmp", "var/tmp", "dev", "run", "proc")


def _again(subject: Subject) -> dict[str, int]:
    """Files of the merged tree that an earlier layer had differently, by real path, with that layer."""
    # Layers name files through the links of a merged /usr, or not.
    links = {name for name in subject.tree.children("") if (row := subject.tree.get(name)) and row.kind is Kind.SYMLINK}
    first: dict[str, tuple[int, int, int]] = {}
    again: dict[str, int] = {}
    for layer, scan in enumerate(subject.scans):
        for entry in scan.entries:
            if entry.kind is Kind.FILE:
                path = entry.path
                if path.partition("/")[0] in links:
                    path = subject.tree.resolve(path) or path
                known, size, mtime = first.setdefault(path, (layer, entry.size, entry.mtime))
                # Packages that several layers bring are the same to the second.
                if known != layer and (size, mtime) != (entry.size, entry.mtime):
                    again[path] = known
    return {
        path: layer
        for path, layer in again.items()
        if subject.tree.is_file(path) and subject.tree.origin(path)[0] != layer
    }


def _sums(subject: Subject) -> Mapping[str, tuple[str, str]]:
    """The md5 of every file of Debian's packages, with the package (deb-md5sums(5)); paths with links resolved."""
    found: dict[str, tuple[str, str]] = {}
    for folder in (_STATUS_D, _DPKG_INFO):
        names = [name for name in subject.tree.children(folder) if name.endswith(".md5sums")]
        subject.contents.prefetch([f"{folder}/{name}" for name in names])
        for name in names:
            text = (subject.contents.get(f"{folder}/{name}") or b"").decode("utf-8", "replace")
            for line in text.splitlines():
                md5, _, path = line.partition("  ")
                real = subject.tree.resolve(path)
                if real is not None:
                    found[real] = (md5, name.removesuffix(".md5sums").partition(":")[0])
    return found


def _changed(subject: Subject) -> dict[str, int]:
    """Files of Debian's packages with another content than the package's, and the layer that had it before."""
    again = {path: layer for path, layer in _again(subject).items() if not _HARMLESS.fullmatch(path)}
    sums = _sums(subject) if again else {}
    mine = {path: layer for path, layer in again.items() if path in sums}
    subject.contents.prefetch(mine)
    return {
        path: layer
        for path, layer in sorted(mine.items())
        if hashlib.md5(subject.contents.get(path) or b"", usedforsecurity=False).hexdigest() != sums[path][0]
    }


def _overwritten(subject: Subject) -> Iterator[Found]:
    changed = _changed(subject)
    if not changed:
        return
    libc = any(_LIBC.search(f"/{path}") for path in changed)
    loader = any(_LOADER.search(f"/{path}") for path in changed)
    for path, layer in list(changed.items())[:_MOST]:
        newer = subject.layer_name(subject.tree.origin(path)[0])
        evidence = f"{newer} replaces the file of {subject.layer_name(layer)}; it is not the package's (md5)"
        half = libc != loader and (_LIBC.search(f"/{path}") or _LOADER.search(f"/{path}"))
        if half:
            evidence += (
                f"; the {'loader' if libc else 'C library'} is still the base's, and the two must be of one build"
            )
        yield Found(path=f"/{path}", evidence=evidence, severity=Severity.ERROR if half else None)
    if len(changed) > _MOST:
        yield Found(path="/", evidence=f"{len(changed) - _MOST} more files of the base are replaced")


def _closed_modules(subject: Subject) -> Iterator[str]:
    """What keeps the user from sources that are surely imported.

    A folder without the right to look into it is an empty package to Python, which only what is started minds; and a
    source is not read that has been compiled.
    """
    app = find_app(subject)
    started = app.modules.find(app.entry) if app.entry and not app.entry.startswith("/") else None
    for path in executed(subject):
        place = blocked(subject.tree, subject.user, path, 4)
        folder, _, name = path.rpartition("/")
        compiled = any(row.startswith(f"{name[:-3]}.") for row in subject.tree.children(f"{folder}/__pycache__"))
        if place and (path == started if place != path else not compiled):
            yield place


def _unreadable(subject: Subject) -> Iterator[Found]:
    user = subject.user
    if user.uid == 0 or user.unknown:
        return
    who = f"{user.name or 'the user'} ({user.uid}:{user.gid})"
    found: dict[str, Severity] = {}
    begun = subject.start
    # What is executed needs the one right, what an interpreter opens the other.
    needed = [(path, 1) for path in begun.chain]
    needed += [(path, 4) for path in begun.chain if subject.scan(path).shebang]
    if begun.task.script:
        needed.append((posixpath.join(subject.working_dir, begun.task.script), 4))
    for path, bit in needed:
        if place := blocked(subject.tree, user, path, bit):
            found[place] = Severity.ERROR
    found |= dict.fromkeys(_closed_modules(subject), Severity.ERROR)
    folders = {real for row in (*subject.sys_path, begun.first) if row and (real := subject.real(row))}
    for folder in folders:
        if place := blocked(subject.tree, user, folder, 5):
            found.setdefault(place, Severity.ERROR)
    below = tuple(f"{folder.strip('/')}/" for folder in folders if folder != "/" and folder not in found)
    for entry in subject.entries:
        # Nearly all; the others are looked at one by one.
        open_to_all = _OPEN_TO_ALL if entry.kind is Kind.DIRECTORY else _READABLE
        if entry.mode & open_to_all == open_to_all or entry.kind is Kind.SYMLINK or not entry.path.startswith(below):
            continue
        if user.may(entry, 4) and (entry.kind is not Kind.DIRECTORY or user.may(entry, 1)):
            continue
        if not any(entry.path.startswith(f"{place.strip('/')}/") for place in found):
            found.setdefault(f"/{entry.path}", Severity.WARNING)
    for place, severity in sorted(found.items(), key=lambda row: (row[1] is not Severity.ERROR, row[0]))[:_MOST]:
        closed = subject.tree.follow(place)
        if closed is not None:
            evidence = f"mode {closed.mode:04o}, owner {closed.uid}:{closed.gid}; a container runs as {who}"
            yield Found(path=place, evidence=evidence, severity=severity)


def _loose(subject: Subject) -> Iterator[Found]:
    writable, setuid = [], []
    for entry in subject.entries:
        if entry.kind is Kind.FILE and entry.mode & _SETUID and entry.mode & 0o111:
            setuid.append(f"/{entry.path}")
        if entry.kind in (Kind.FILE, Kind.DIRECTORY) and entry.mode & 0o002:
            sticky = entry.kind is Kind.DIRECTORY and entry.mode & 0o1000
            if not sticky and entry.path.partition("/")[0] not in _OPEN and not entry.path.startswith(_OPEN[1]):
                writable.append(f"/{entry.path}")
    for rows, what in ((setuid, "run with their owner's rights (setuid, setgid)"), (writable, "anybody may change")):
        if rows:
            yield Found(path=rows[0], evidence=f"{len(rows)} files or folders that {what}")


RULES: Final = (
    Rule(
        id="LAY005",
        severity=Severity.WARNING,
        title="a file of the base was replaced by another one",
        symptom="symbol lookup error: … version GLIBC_PRIVATE; a crash at start; anything else",
        why="A layer has a file that belongs to one of the base's packages, with another content (md5sums of the"
        " package). It is an error where only one of loader and C library was replaced: they work only together. The"
        " interpreter then crashes at start, which is often taken for an incompatible Python.",
        fix="copy what is yours to folders of its own, such as /app or /usr/local, never whole /lib or /usr/lib",
        look=_overwritten,
    ),
    Rule(
        id="LAY006",
        severity=Severity.ERROR,
        title="the image's user cannot read what is to run",
        symptom="can't open file '/priv/main.py': [Errno 13] Permission denied; ModuleNotFoundError for a module that"
        " is there",
        why="COPY keeps modes and owners: a folder of mode 0700 that belongs to root is closed to the user nonroot."
        " Single files below sys.path that cannot be read are warnings.",
        fix="make folders 0755 and files 0644, or COPY --chown=65532:65532",
        look=_unreadable,
    ),
    Rule(
        id="LAY013",
        severity=Severity.NOTE,
        title="files that anybody may change, or that run with other rights",
        symptom="nothing; a way up for whoever gets into the container",
        why="World-writable files and setuid programs have no place in an image that runs one program as one user.",
        fix="chmod o-w, chmod u-s",
        look=_loose,
    ),
)
