"""Running a build backend: a clean copy of the project, the locked build requirements, the base's interpreter."""

import contextlib
import json
import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Final

from dpbuild.adapters.store import DiskStore, remove_tree
from dpbuild.archive.deflate import Splicer
from dpbuild.errors import ConfigError, SdistBuildFailed, UnsafeWheel
from dpbuild.model.artifact import Artifact
from dpbuild.model.config import Project
from dpbuild.model.facts import Facts
from dpbuild.model.files import ProjectFile
from dpbuild.ports.sandbox import Job, Mount, Sandbox
from dpbuild.pypa import scripts
from dpbuild.pypa.wheel import WheelError, name_and_version
from dpbuild.stages.layers.wheels import open_wheel

# Where the folders are in the sandbox.
_SOURCE: Final = "/build/source"
_SITE: Final = "/build/site"
_RESULTS: Final = "/build/results"
_HOME: Final = "/build/home"
# A zip holds no earlier time; backends take it from SOURCE_DATE_EPOCH.
_EPOCH: Final = 315532800
# PEP 517: what a project without a build-backend key gets.
LEGACY: Final = "setuptools.build_meta:__legacy__"
# Seconds. A pure wheel takes a few.
_TIMEOUT: Final = 600.0
_LAST_LINES: Final = 25


@dataclass(frozen=True, slots=True)
class _Folders:
    source: Path
    site: Path
    results: Path
    home: Path

    def mounts(self) -> tuple[Mount, ...]:
        """Their places; the build requirements cannot be written to."""
        return (
            Mount(source=str(self.source), target=_SOURCE, writable=True),
            Mount(source=str(self.site), target=_SITE),
            Mount(source=str(self.results), target=_RESULTS, writable=True),
            Mount(source=str(self.home), target=_HOME, writable=True),
        )


class SandboxBackend:
    """Implements ``ports.backend.Backend``.

    ``start`` gives the sandbox and the folder that the base is extracted in; ``logs`` is where the log of a build
    that failed is kept.
    """

    def __init__(self, facts: Facts, start: Callable[[], tuple[Sandbox, str]], store: DiskStore, logs: Path) -> None:
        self._facts = facts
        self._start = start
        self._store = store
        self._logs = logs

    def requires(self, project: Project, files: Sequence[ProjectFile], wheels: Sequence[Artifact]) -> tuple[str, ...]:
        """What ``get_requires_for_build_wheel`` answers."""
        with self._folders(files, wheels) as folders:
            answer = self._call("requires", project, folders)
        if not isinstance(answer, list) or not all(isinstance(row, str) for row in answer):
            raise SdistBuildFailed(f"{_named(project)}: its backend answered no list of requirements")
        return tuple(sorted(set(answer)))

    def build(self, project: Project, files: Sequence[ProjectFile], wheels: Sequence[Artifact]) -> tuple[str, Artifact]:
        """The wheel, in the store. It is verified like any other."""
        with self._folders(files, wheels) as folders:
            answer = self._call("build", project, folders)
            path = folders.results / str(answer)
            if not isinstance(answer, str) or posixpath.basename(answer) != answer or not path.is_file():
                raise SdistBuildFailed(f"{_named(project)}: its backend made no wheel ({answer!r})")
            _verify(path)
            with self._store.writer() as writer:
                writer.write(path.read_bytes())
                digest, size = writer.commit()
        try:
            name, version = name_and_version(answer)
        except WheelError as problem:
            raise UnsafeWheel(f"{_named(project)}: its backend made {answer}: {problem}") from None
        artifact = Artifact(name=name, version=version, filename=answer, digest=digest, size=size, locked=False)
        return answer, artifact

    def _call(self, hook: str, project: Project, folders: _Folders) -> Any:
        sandbox, rootfs = self._start()
        script = resources("dpbuild.adapters").joinpath("backend_hook.py.txt").read_text()
        name = project.build_backend or LEGACY
        # The legacy backend is there for setup.py files that import what lies beside them.
        path = ":".join(project.backend_path) or ("." if name == LEGACY else "")
        outcome = sandbox.run(
            Job(
                rootfs=rootfs,
                argv=(self._facts.interpreter, "-s", "-B", "-c", script, hook, _SITE, _RESULTS, name, path, _SOURCE),
                env=(
                    ("HOME", _HOME),
                    ("LANG", "C.UTF-8"),
                    ("LC_ALL", "C.UTF-8"),
                    ("PATH", f"{_SITE}/bin:/usr/local/bin:/usr/bin:/bin"),
                    ("PYTHONDONTWRITEBYTECODE", "1"),
                    ("PYTHONHASHSEED", "0"),
                    ("PYTHONNOUSERSITE", "1"),
                    ("SOURCE_DATE_EPOCH", str(_EPOCH)),
                    ("TZ", "UTC"),
                ),
                working_dir=_SOURCE,
                mounts=folders.mounts(),
                timeout=_TIMEOUT,
            )
        )
        answer = folders.results / "answer.json"
        if outcome.status or not answer.is_file():
            raise self._failed(project, name, outcome.status, outcome.stdout + outcome.stderr)
        return json.loads(answer.read_text())

    def _failed(self, project: Project, backend: str, status: int, log: bytes) -> SdistBuildFailed:
        where = None
        with contextlib.suppress(OSError):
            self._logs.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self._logs / f"{project.name or 'app'}.log"
            path.write_bytes(log)
            where = str(path)
        lines = log.decode(errors="replace").rstrip().splitlines()[-_LAST_LINES:]
        text = "".join(f"\n  | {line}" for line in lines)
        return SdistBuildFailed(
            f"{_named(project)}: its build backend {backend} ended with status {status}{text}",
            where=where,
            hint="the whole log is in that file; try `python -m build --wheel` in the project",
        )

    @contextlib.contextmanager
    def _folders(self, files: Sequence[ProjectFile], wheels: Sequence[Artifact]) -> Iterator[_Folders]:
        try:
            root = Path(tempfile.mkdtemp(prefix="dpbuild-build-", dir=self._store.path / "tmp"))
        except OSError as problem:
            self._store.fail(problem, self._store.path)
        try:
            folders = _Folders(root / "source", root / "site", root / "results", root / "home")
            try:
                self._fill(folders, files, wheels)
            except OSError as problem:
                self._store.fail(problem, root)
            yield folders
        finally:
            remove_tree(root)

    def _fill(self, folders: _Folders, files: Sequence[ProjectFile], wheels: Sequence[Artifact]) -> None:
        for folder in (folders.source, folders.site, folders.results, folders.home):
            folder.mkdir()
            folder.chmod(0o755)
        for file in files:
            _copy(file, folders.source)
        for folder in sorted((row for row in folders.source.rglob("*") if row.is_dir()), reverse=True):
            os.utime(folder, (_EPOCH, _EPOCH))
        for wheel in wheels:
            self._unpack(wheel, folders.site)

    def _unpack(self, artifact: Artifact, site: Path) -> None:
        """A build requirement: its modules, and its programs in ``bin``."""
        splicer = Splicer()
        try:
            with self._store.open(artifact.digest) as blob:
                opened = open_wheel(artifact, blob, splicer)
                for row in opened.wheel.files:
                    if row.scheme not in ("purelib", "platlib", "scripts"):
                        continue
                    path = site / ("bin" if row.scheme == "scripts" else "") / row.path
                    data = opened.contents[row.member].data(splicer)
                    if row.scheme == "scripts":
                        data = scripts.with_shebang(data, self._facts.interpreter)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
                    path.chmod(0o755 if row.scheme == "scripts" or opened.modes[row.member] & 0o111 else 0o644)
        finally:
            splicer.close()


def _copy(file: ProjectFile, folder: Path) -> None:
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.target:
        path.symlink_to(file.target)
        return
    if file.open is None:
        raise ConfigError("a file of the project cannot be opened", where=file.path)
    try:
        with file.open() as source:
            data = source.read()
    except OSError as problem:
        raise ConfigError(f"cannot read the file: {problem.strerror}", where=file.path) from None
    path.write_bytes(data)
    path.chmod(0o755 if file.executable else 0o644)
    os.utime(path, (_EPOCH, _EPOCH))


def _verify(path: Path) -> None:
    """The backend's RECORD, by the reference implementation; our own reader looks at it again."""
    from wheel.wheelfile import WheelError as Broken
    from wheel.wheelfile import WheelFile

    try:
        with WheelFile(path) as wheel:
            for name in wheel.namelist():
                wheel.read(name)
    except (Broken, ValueError, OSError) as problem:
        raise UnsafeWheel(f"{path.name}: {problem}", hint="the build backend made a broken wheel") from None


def _named(project: Project) -> str:
    return project.name or "the project"
