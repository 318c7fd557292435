"""Running in bubblewrap: namespaces without an engine and without privileges."""

import ctypes
import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from dpbuild.adapters.rootfs import inside
from dpbuild.adapters.sandbox.process import FOREIGN, attached, captured, read_line
from dpbuild.adapters.sandbox.users import resolve_user
from dpbuild.errors import SandboxError
from dpbuild.ports.sandbox import Job, Outcome

NAME: Final = "bubblewrap"
# prctl(2); bwrap may die of a signal before the program that it started does.
_PR_SET_CHILD_SUBREAPER: Final = 36
# Made fresh in every sandbox, whatever the image has there.
_OWN: Final = ("proc", "dev", "tmp", "run")
_RESOLVE: Final = ("/etc/resolv.conf", "/etc/hosts")


class BubblewrapSandbox:
    """``bwrap`` at the given path.

    The image is read-only, ``/tmp``, ``/run`` and ``/dev/shm`` are empty and writable. Mounts may be below
    directories that the image does not have, and a working directory that it lacks is made. There is no other
    process, no network unless the job asks, and one user: the files of the image belong to it, whoever that is.
    Ending dpbuild ends what runs in it.
    """

    name = NAME
    isolates = True

    def __init__(self, program: str) -> None:
        self._program = program

    def works(self) -> str:
        """Start something in it: "" if that works, else why it does not (user namespaces may be forbidden)."""
        # The host's own root, because there is no other before a base was unpacked.
        argv = [self._program, "--ro-bind", "/", "/", *_NAMESPACES, "--proc", "/proc", "--dev", "/dev", "--"]
        try:
            outcome = captured([*argv, "/proc/self/exe", "--version"], {}, cwd="/", stdin=b"", timeout=20, name=NAME)
        except SandboxError as problem:
            return str(problem)
        return "" if outcome.status == 0 else outcome.stderr.decode(errors="replace").strip()

    def run(self, job: Job) -> Outcome:
        """Run to the end. Raises SandboxError; interrupting leaves nothing running."""
        uid, gid = resolve_user(job.rootfs, job.user)
        argv = [self._program, *_NAMESPACES, "--uid", str(uid), "--gid", str(gid), "--hostname", "dpbuild"]
        if job.network:
            argv.append("--share-net")
        argv += [part for row in _layout(job) for part in row]
        argv += ["--clearenv", *(part for key, value in job.env for part in ("--setenv", key, value))]
        argv += ["--chdir", job.working_dir]
        if job.capture:
            argv += ["--die-with-parent", "--new-session", "--", *job.argv]
            return _checked(captured(argv, {}, cwd="/", stdin=job.stdin, timeout=job.timeout, name=NAME, most=job.most))
        return self._attached(job, argv)

    def _attached(self, job: Job, argv: list[str]) -> Outcome:
        """With the terminal: bwrap dies of Ctrl-C at once, so the program itself is signalled and waited for."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        ours, theirs = os.pipe()

        def started() -> int | None:
            nonlocal theirs
            os.close(theirs)
            theirs = -1
            try:
                return int(json.loads(read_line(ours, 20))["child-pid"])
            except (ValueError, KeyError):
                return None

        try:
            argv += ["--info-fd", str(theirs), "--as-pid-1", "--", *job.argv]
            return attached(argv, {}, cwd="/", timeout=job.timeout, name=NAME, pass_fds=(theirs,), started=started)
        finally:
            os.close(ours)
            if theirs >= 0:
                os.close(theirs)


_NAMESPACES: Final = ("--unshare-all", "--unshare-user")


def _checked(outcome: Outcome) -> Outcome:
    """Tell bwrap's own failure from the program's; bwrap prefixes what it says."""
    if outcome.status == 1 and not outcome.stdout and outcome.stderr.startswith(b"bwrap: "):
        said = outcome.stderr.decode(errors="replace").strip().removeprefix("bwrap: ")
        raise SandboxError(f"{NAME} failed: {said}", hint=FOREIGN if os.strerror(errno.ENOEXEC) in said else None)
    return outcome


def _layout(job: Job) -> Iterator[Sequence[str]]:
    """The file system. The root is a tmpfs with the image's entries bound into it, so that mount points can be
    made; a directory below which one is missing is taken apart in the same way.
    """
    mounts = {_absolute(row.target): row for row in job.mounts}
    targets = [*mounts]
    if job.network:
        targets += [path for path in _RESOLVE if Path(path).exists() and path not in mounts]
    fresh = os.path.normpath(job.working_dir)
    scratch = not _within(fresh, (*targets, *(f"/{name}" for name in _OWN))) and _scratch(job, fresh)
    if scratch:
        targets.append(fresh)
    yield from _directory(job.rootfs, "", targets)
    for target in sorted(targets, key=lambda path: path.count("/")):
        mount = mounts.get(target)
        if scratch and target == fresh:
            yield "--tmpfs", target
        elif mount is None:
            yield "--ro-bind", target, target
        else:
            yield "--bind" if mount.writable else "--ro-bind", mount.source, target
    yield "--remount-ro", "/"


def _within(path: str, folders: Iterable[str]) -> bool:
    return path == "/" or any(path == row or path.startswith(f"{row}/") for row in folders)


def _scratch(job: Job, path: str) -> bool:
    """Whether the working directory is a fresh one: the image lacks it, or a program is run that finds it empty."""
    try:
        folder = Path(inside(job.rootfs, path))
        return not folder.exists() or (not job.capture and not any(folder.iterdir()))
    except OSError:
        return True


def _absolute(path: str) -> str:
    path = os.path.normpath(path)
    if not path.startswith("/") or path == "/":
        raise SandboxError(f"nothing can be mounted at {path!r}")
    return path


def _directory(rootfs: str, path: str, targets: Sequence[str]) -> Iterator[Sequence[str]]:
    """Bind what is in ``path`` ("" is the root)."""
    if not path:
        yield "--proc", "/proc"
        yield "--dev", "/dev"
        yield "--perms", "1777", "--tmpfs", "/tmp"  # noqa: S108
        yield "--tmpfs", "/run"
    for entry in sorted(os.scandir(inside(rootfs, path or "/")), key=lambda row: row.name):
        here = f"{path}/{entry.name}"
        if not path and entry.name in _OWN:
            continue
        below = [target for target in targets if target.startswith(f"{here}/")]
        if entry.is_symlink():
            yield "--symlink", str(Path(entry.path).readlink()), here
        elif entry.is_dir() and any(_missing(rootfs, target) for target in below):
            yield "--dir", here
            yield from _directory(rootfs, here, below)
        elif here not in targets or entry.is_dir():
            yield "--ro-bind", entry.path, here


def _missing(rootfs: str, target: str) -> bool:
    try:
        return not os.path.lexists(inside(rootfs, target))
    except OSError:
        return True
