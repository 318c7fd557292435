"""Running an image's programs through the image's own dynamic loader: no privileges, no isolation."""

import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import Final

from dpbuild.adapters.rootfs import inside
from dpbuild.adapters.sandbox.process import attached, captured
from dpbuild.elf.reader import ElfError, is_elf, read
from dpbuild.errors import SandboxError
from dpbuild.frozen import frozen
from dpbuild.ports.sandbox import Job, Outcome

NAME: Final = "the base's own loader"

# Where ld.so looks by itself (ld.so(8)), Debian's multiarch directories first; musl's ldso/dynlink.c likewise.
_DEFAULT: Final = ("lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib")
_MULTIARCH: Final = re.compile(r"[a-z0-9_]+-linux-(?:gnu|musl)[a-z0-9]*")
# These are the host's in this sandbox: a path below them is the same inside and outside.
_HOST: Final = ("/dev", "/proc", "/sys", "/tmp", "/run")  # noqa: S108
_PYTHON: Final = re.compile(r"(?:python|pypy)[0-9.]*t?d?")
_SCRIPTS: Final = 4


class LoaderSandbox:
    """``ROOT/lib64/ld-linux-x86-64.so.2 --library-path … ROOT/usr/bin/python3.13``, with PYTHONHOME set.

    The program sees the host's file system, network, processes and user. Paths in the image are therefore
    translated: an argument, the working directory, and each part (split at colons) of a variable's value, that
    is an absolute path under a mount's target becomes the path under its source, and one that is in the image
    becomes the path in the extracted image. Not translated is what the program makes up itself:
    ``open("/etc/passwd")`` reads the host's, and ``sys.prefix`` is ``ROOT/usr``. ``sys.executable`` is a script
    that starts the same interpreter, so that ``multiprocessing`` works. ``PYTHONHOME`` is added to the
    environment. ``user``, ``network=False`` and read-only mounts have no effect.
    """

    name = NAME
    isolates = False

    def run(self, job: Job) -> Outcome:
        """Run to the end. Raises SandboxError; interrupting leaves nothing running."""
        paths = _Paths(job)
        with tempfile.TemporaryDirectory(prefix="dpbuild-") as folder:
            argv, home = _command(job, paths, folder)
            env = {key: paths.variable(key, value) for key, value in job.env} | home
            cwd = paths.host(job.working_dir) or job.rootfs
            if job.capture:
                return captured(argv, env, cwd=cwd, stdin=job.stdin, timeout=job.timeout, name=NAME, most=job.most)
            return attached(argv, env, cwd=cwd, timeout=job.timeout, name=NAME)


@frozen(kw_only=False)
class _Paths:
    """Paths in the sandbox as paths on the host."""

    job: Job

    def host(self, path: str) -> str | None:
        """The host path of an absolute path in the sandbox, or None if there is nothing."""
        path = os.path.normpath(path)
        for mount in sorted(self.job.mounts, key=lambda row: len(row.target), reverse=True):
            target = mount.target.rstrip("/")
            if path == target or path.startswith(f"{target}/"):
                return mount.source.rstrip("/") + path[len(target) :]
        if path == "/" or path.startswith(self.job.rootfs.rstrip("/") + "/"):
            return None
        if any(path == row or path.startswith(f"{row}/") for row in _HOST):
            return path
        try:
            found = inside(self.job.rootfs, path)
        except OSError:
            return None
        return found if os.path.lexists(found) else None

    def translate(self, text: str) -> str:
        """``text`` itself, or the host path if it is a path in the sandbox."""
        if not text.startswith("/") or text.startswith("//"):
            return text
        return self.host(text) or text

    def variable(self, key: str, value: str) -> str:
        """A variable's value, each part between colons; PATH loses what the image does not have."""
        if key == "PATH":
            return ":".join(found for part in value.split(":") if (found := self.host(part)))
        return ":".join(self.translate(part) for part in value.split(":"))


def _command(job: Job, paths: _Paths, folder: str) -> tuple[list[str], dict[str, str]]:
    """What to start on the host, and the variables that the interpreter needs to find its library."""
    argv = list(job.argv)
    rest = [paths.translate(part) for part in argv[1:]]
    program = argv[0]
    for _ in range(_SCRIPTS):
        host = paths.host(program)
        if host is None or not Path(host).is_file():
            raise SandboxError(f"{program} is not in the image")
        with Path(host).open("rb") as file:
            first = file.read(256)
        if not first.startswith(b"#!"):
            break
        # execve(2), "Interpreter scripts": at most one argument, the rest of the line.
        words = first[2:].split(b"\n")[0].decode(errors="replace").strip().split(None, 1)
        if not words:
            raise SandboxError(f"{program} has a first line that names no program")
        rest = [*words[1:], host, *rest]
        program = words[0]
    else:
        raise SandboxError(f"{argv[0]} is a script of a script of a script")
    if not is_elf(first):
        raise SandboxError(f"{program} is neither a program nor a script")
    loader = _loader(host, paths)
    if loader is None:
        return [host, *rest], {}
    start = [loader, "--library-path", ":".join(_libraries(job, paths))]
    options = Path(loader).read_bytes()
    if b"--inhibit-cache" in options:
        start.append("--inhibit-cache")  # the cache would be the host's
    if not _PYTHON.fullmatch(Path(host).name):
        return [*start, host, *rest], {}
    # The program's idea of itself is the script, so whatever it starts by sys.executable comes here again.
    script = Path(folder, Path(program).name)
    if b"--argv0" in options:  # glibc 2.33, musl 1.2.0
        start += ["--argv0", str(script)]
    start.append(host)
    script.write_text(f'#!/bin/sh\nexec {shlex.join(start)} "$@"\n')
    script.chmod(0o700)
    return [*start, *rest], {"PYTHONHOME": str(Path(host).parent.parent)}


def _loader(host: str, paths: _Paths) -> str | None:
    """The loader that a program asks for, on the host; None for a static program."""
    try:
        wanted = read(Path(host).read_bytes()).interp
    except ElfError as problem:
        raise SandboxError(f"the program cannot be read: {problem}", where=host) from None
    if not wanted:
        return None
    found = paths.host(wanted)
    if found is None:
        raise SandboxError(f"the dynamic loader {wanted} is not in the image")
    return found


def _libraries(job: Job, paths: _Paths) -> list[str]:
    """Where the image keeps its libraries, as host paths, each once."""
    found = [paths.translate(part) for key, value in job.env if key == "LD_LIBRARY_PATH" for part in value.split(":")]
    folders = [paths.host(f"/{name}") for name in _DEFAULT]
    for folder in folders:
        if folder is not None and Path(folder).is_dir():
            found += [str(row) for row in sorted(Path(folder).iterdir()) if _MULTIARCH.fullmatch(row.name)]
    found += [folder for folder in folders if folder is not None]
    return [row for row in dict.fromkeys(found) if row and Path(row).is_dir()]
