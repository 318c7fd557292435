"""The resolver: uv as a subprocess, told everything of the target and nothing of the host.

uv needs a Python to run with; it is used for nothing that shows, because building is switched off. uv's own
cache is not the user's: a warm shared one was seen to hold metadata that had been built on the host.
"""

import contextlib
import errno
import functools
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dpbuild.adapters import uv_errors, uv_settings
from dpbuild.errors import LockError, StoreError, UnsupportedRequirement
from dpbuild.model.target import Target
from dpbuild.ports.resolver import ResolveRequest
from dpbuild.pypa import pylock
from dpbuild.pypa.metadata import Metadata
from dpbuild.pypa.pylock import LockedFile, LockedPackage

# What would make uv look at this machine, or write elsewhere than where it is told to.
_NEVER = (
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "UV_WORKING_DIR",
    "UV_WORKING_DIRECTORY",
    "UV_CACHE_DIR",
    "UV_NO_CACHE",
    "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE",
    "UV_NO_BUILD",
    "UV_NO_BUILD_PACKAGE",
    "UV_TORCH_BACKEND",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
)


def find_uv(path: str) -> str:
    """The uv program: the one that is installed with dpbuild, else one on ``path``. Raises LockError."""
    try:
        import uv

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv", path=path)
    if found is None:
        raise LockError("there is no uv, which resolves requirements", hint="pip install uv")
    return found


def prune_cache(uv: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Let uv remove what it needs no more from a cache of its own; what goes wrong there is no loss."""
    kept = {name: value for name, value in environment.items() if name not in _NEVER}
    with contextlib.suppress(OSError):
        subprocess.run(
            [uv, "cache", "prune", "--cache-dir", str(folder), "--quiet"],
            env=kept,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )


class UvResolver:
    """Implements ``ports.resolver.Resolver``.

    ``uv`` and ``python`` are paths of programs, ``cache`` a folder of dpbuild's own, ``environment`` the whole
    environment that uv gets: PATH, HOME, proxies, certificates, and the configuration of indexes as UV_*. ``begin`` is
    called before the first time that something is resolved.
    """

    def __init__(
        self,
        *,
        uv: str,
        python: str,
        cache: str,
        environment: Mapping[str, str],
        offline: bool = False,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._uv = uv
        self._python = python
        self._cache = cache
        kept = {name: value for name, value in environment.items() if name not in _NEVER}
        self._environment = {**kept, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
        self._offline = offline
        self._begin = functools.cache(begin)

    def resolve(self, request: ResolveRequest, target: Target) -> tuple[LockedPackage, ...]:
        """The packages for the target, sorted by name.

        Raises UnsupportedRequirement, NoCompatibleWheel, LockError.
        """
        if not target.uv_platform:
            raise LockError(
                f"uv cannot resolve for {target.platform}",
                hint="give a pylock.toml that was made for it",
            )
        self._begin()
        every = ":all:" in request.no_binary
        forced = set(request.no_binary) - {":all:"}
        known: dict[tuple[str, str], Metadata] = {}
        while True:
            done, text = self._attempt(request, target, forced, known)
            found = _packages(text, request.directory) if done.returncode == 0 else None
            if found is None:
                # Projects that may be built are asked for as an sdist only when no wheel will do.
                wanted = uv_errors.sdist_only(done.stderr) - forced
                others = set(request.only_binary) if "*" in request.allow_sdist else wanted - request.allow_sdist
                if not wanted - others:
                    raise uv_errors.translate(done.stderr, target)
                forced |= wanted - others
                continue
            more = {row.name for row in found} - forced if every else set()
            asked = [row for row in found if row.name in forced and row.sdist and (row.name, row.version) not in known]
            if not more and not asked:
                return found
            forced |= more
            known |= {(row.name, row.version): _metadata(request, row) for row in asked}

    def _attempt(
        self,
        request: ResolveRequest,
        target: Target,
        forced: set[str],
        known: Mapping[tuple[str, str], Metadata],
    ) -> tuple[subprocess.CompletedProcess[str], str]:
        """One run of uv, and the lock that it wrote; "" where it failed. Raises LockError, StoreError."""
        try:
            with tempfile.TemporaryDirectory(prefix="dpbuild-uv-") as folder:
                done = self._run(self._compile(request, target, Path(folder), forced, known), request.directory)
                path = Path(folder) / "pylock.toml"
                return done, path.read_text(encoding="utf-8") if done.returncode == 0 else ""
        except OSError as problem:
            where = str(problem.filename or "")
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreError("the disk is full", where=where, hint="free some room, or set TMPDIR") from None
            what = f"temporary files cannot be written: {problem.strerror or problem}"
            raise LockError(what, where=where, hint="set TMPDIR to a folder that can be written") from None

    def _compile(
        self,
        request: ResolveRequest,
        target: Target,
        folder: Path,
        forced: set[str],
        known: Mapping[tuple[str, str], Metadata],
    ) -> list[str]:
        import tomlkit

        sources = _sources(request.directory) if request.sources else {}
        if sources:
            # Sources count only in a pyproject.toml, and only in the one that has the requirements.
            project = {"name": "dpbuild-requirements", "version": "0", "dependencies": list(request.requirements)}
            source = folder / "pyproject.toml"
            source.write_text(tomlkit.dumps({"project": project, "tool": {"uv": sources}}), encoding="utf-8")
        else:
            source = folder / "requirements.in"
            lines = [*(_option(row, request.directory) for row in request.options), *request.requirements]
            source.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        arguments = ["pip", "compile", str(source), "--format", "pylock.toml", "--no-header", "--no-annotate"]
        arguments += ["--python", self._python, "--python-version", target.python_version]
        arguments += ["--python-platform", target.uv_platform]
        if forced:
            # With metadata given for each of them, uv builds nothing to learn them; else it would, on this machine.
            settings = folder / "uv.toml"
            values = uv_settings.with_metadata(uv_settings.merged(request.directory, self._environment), known, forced)
            settings.write_text(tomlkit.dumps(values), encoding="utf-8")
            arguments += ["--config-file", str(settings), "--only-binary", ":all:", "--require-build-hashes"]
        else:
            arguments.append("--no-build")
        for name in sorted(forced):
            arguments += ["--no-binary", name]
        if request.no_deps:
            arguments.append("--no-deps")
        if request.constraints:
            constraints = folder / "constraints.txt"
            constraints.write_text("".join(f"{line}\n" for line in request.constraints), encoding="utf-8")
            arguments += ["--constraints", str(constraints)]
        for place in request.find_links:
            arguments += ["--find-links", place if "://" in place else str(Path(request.directory, place))]
        output = folder / "pylock.toml"
        if request.preferences:
            # uv keeps the versions of the output that is there, unless they have no solution.
            output.write_text(_preferences(request.preferences), encoding="utf-8")
        return [*arguments, "--output-file", str(output)]

    def export(self, directory: str, extras: tuple[str, ...], groups: tuple[str, ...]) -> tuple[LockedPackage, ...]:
        """What the project's ``uv.lock`` says, not resolved again. Raises UnsupportedRequirement, LockError."""
        arguments = ["export", "--frozen", "--offline", "--format", "pylock.toml", "--no-header", "--no-annotate"]
        arguments += ["--no-emit-project", "--no-default-groups", "--python", self._python]
        for extra in extras:
            arguments += ["--extra", extra]
        for group in groups:
            arguments += ["--group", group]
        done = self._run(arguments, directory)
        if done.returncode:
            raise uv_errors.translate_export(done.stderr)
        return _packages(done.stdout, directory)

    def _run(self, arguments: list[str], directory: str) -> subprocess.CompletedProcess[str]:
        command = [self._uv, *arguments, "--cache-dir", self._cache, "--color", "never"]
        if self._offline and "--offline" not in arguments:
            command.append("--offline")
        try:
            done = subprocess.run(
                command,
                cwd=directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise LockError(f"uv cannot be started: {error.strerror}", where=self._uv) from None
        if done.returncode and uv_errors.disk_full(done.stderr):
            raise StoreError(
                "the disk is full", where=self._cache, hint="free some room, or choose another --cache-dir"
            )
        return done


def _option(row: str, directory: str) -> str:
    """An option of a requirements file; a folder is named from the root, as the file that uv reads is elsewhere."""
    option, _, value = row.partition(" ")
    local = option in ("-f", "--find-links") and "://" not in value
    return f"{option} {Path(directory, value)}" if local else row


def _metadata(request: ResolveRequest, package: LockedPackage) -> Metadata:
    if request.metadata is None:
        raise UnsupportedRequirement(f"{package.name} {package.version} has only an sdist, and nothing may be built")
    return request.metadata(package)


def _preferences(rows: tuple[str, ...]) -> str:
    packages = []
    for row in rows:
        name, _, version = row.partition("==")
        wheel = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        file = LockedFile(name=wheel, sha256="0" * 64, path=wheel)
        packages.append(LockedPackage(name=name, version=version, wheels=(file,)))
    return pylock.dumps(pylock.Document(packages=tuple(packages)))


def _packages(text: str, directory: str) -> tuple[LockedPackage, ...]:
    rows = pylock.loads(text, "uv's output").packages
    return tuple(sorted((_relative(row, directory) for row in rows), key=lambda row: (row.name, row.version)))


def _relative(package: LockedPackage, directory: str) -> LockedPackage:
    return LockedPackage(
        name=package.name,
        version=package.version,
        marker=package.marker,
        wheels=tuple(_file(row, directory) for row in package.wheels),
        sdist=_file(package.sdist, directory) if package.sdist else None,
        unsupported=package.unsupported,
    )


def _file(file: LockedFile, directory: str) -> LockedFile:
    """The file with a path instead of a ``file:`` URL, relative where it is in the project."""
    if not file.url.startswith("file:"):
        return file
    from urllib.parse import unquote, urlsplit

    path = Path(unquote(urlsplit(file.url).path))
    with contextlib.suppress(ValueError):
        path = path.relative_to(Path(directory).resolve())
    return LockedFile(name=file.name, sha256=file.sha256, path=path.as_posix(), size=file.size)


def _sources(directory: str) -> dict[str, Any]:
    """The part of ``[tool.uv]`` that says which project comes from which index."""
    try:
        tool = tomllib.loads(Path(directory, "pyproject.toml").read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError):
        return {}
    table = tool.get("uv", {}) if isinstance(tool, dict) else {}
    sources = {}
    for name, value in table.get("sources", {}).items():
        rows = [
            row for row in (value if isinstance(value, list) else [value]) if isinstance(row, dict) and "index" in row
        ]
        if rows:
            sources[name] = rows
    if not sources:
        return {}
    indexes = []
    for row in table.get("index", []):
        url = str(row.get("url", ""))
        local = bool(url) and not re.match(r"[a-z][a-z0-9+.-]*:", url)
        indexes.append({**row, "url": Path(directory, url).resolve().as_uri()} if local else row)
    return {"sources": sources, "index": indexes}
