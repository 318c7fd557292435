"""The project's folder: which of its files belong to the app.

Left out are what ``.gitignore`` and ``.dockerignore`` exclude, what tools leave behind, and what holds
secrets; ``include`` brings back what it names (secrets only by a pattern with their own name in it), ``exclude`` has
the last word.
"""

import fnmatch
import hashlib
import os
import posixpath
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from pathspec import GitIgnoreSpec

from dpbuild.adapters.dockerignore import DockerIgnore
from dpbuild.errors import ConfigError
from dpbuild.model.files import ProjectFile

# Never part of an app: version control, environments, what tools keep for themselves, and our own output.
_LEFT_BEHIND: Final = (
    ".git", ".hg", ".svn", ".jj", ".dpbuild/", "__pycache__/", "*.py[co]", ".venv/", "*.egg-info/",
    ".mypy_cache/", ".pytest_cache/", ".ruff_cache/", ".hypothesis/", ".tox/", ".nox/", ".coverage", "node_modules/",
    ".DS_Store", ".idea/", ".vscode/", "/pylock.dpbuild.toml", "/pylock.dpbuild-build.toml",
    ".gitignore", ".gitattributes", ".dockerignore", "/Dockerfile", "/Dockerfile.*",
)  # fmt: skip
# Secrets as people leave them lying about.
_SECRETS: Final = (
    ".env", ".env.*", "!.env.example", "!.env.sample", "!.env.template", "*.pem", "*.key", "*.p12", "*.pfx",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", ".pypirc", "pip.conf", ".npmrc", ".git-credentials",
    ".pgpass", ".aws/", ".ssh/", ".gnupg/", ".docker/", ".kube/", "credentials.json", "*.kdbx",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Opener:
    path: str

    def __call__(self) -> BinaryIO:
        return Path(self.path).open("rb")


@dataclass(frozen=True, slots=True)
class _Rules:
    fixed: GitIgnoreSpec
    docker: DockerIgnore
    include: GitIgnoreSpec
    wanted: tuple[str, ...]
    exclude: GitIgnoreSpec


class DiskProject:
    """The project on disk (``ports/project.py``). ``env`` is what git is run with."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self._path = directory
        self._env = env

    @property
    def directory(self) -> str:
        """Its absolute path."""
        return str(self._path)

    def read(self, name: str) -> str | None:
        """A text file, or None."""
        try:
            return (self._path / name).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError:
            raise ConfigError("the file is not UTF-8", where=str(self._path / name)) from None
        except OSError as problem:
            raise ConfigError(f"cannot read the file: {problem.strerror}", where=str(self._path / name)) from None

    def exact(self, name: str) -> str | None:
        """As ``read``, but with the ends of lines as they are."""
        text = self.read(name)
        if text is None:
            return None
        with (self._path / name).open(encoding="utf-8", newline="") as file:
            return file.read()

    def write(self, name: str, text: str) -> bool:
        """Replace a text file at once; False if the project is read-only. A symbolic link stays one."""
        path = Path(os.path.realpath(self._path / name))
        try:
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{name}.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                    file.write(text)
                Path(temporary).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError:
            return False
        return True

    def app_files(self, include: tuple[str, ...], exclude: tuple[str, ...]) -> tuple[ProjectFile, ...]:
        """What a copied app consists of."""
        return collect(self._path, include, exclude)

    def build_files(self) -> tuple[ProjectFile, ...]:
        """What a build backend gets to see."""
        return build_tree(self._path)

    def named(self, sources: tuple[str, ...]) -> tuple[ProjectFile, ...]:
        """The files and folders that configuration names."""
        return named(self._path, sources)

    def commit(self) -> tuple[str, int] | None:
        """The last commit of the folder and its time, if the folder is exactly what it holds."""
        # What dpbuild itself writes is no part of the app, and must not make the next build another one.
        own = (f":(exclude){name}" for name in (".dpbuild", "pylock.dpbuild.toml", "pylock.dpbuild-build.toml"))
        status = self._git("status", "--porcelain", "--", ".", *own)
        if status is None or status.strip():
            return None
        commit, _, time = (self._git("log", "-1", "--format=%H %ct", "--", ".") or "").strip().partition(" ")
        return (commit, int(time)) if time.isdigit() else None

    def _git(self, *arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(self._path), *arguments],  # noqa: S607 - git is where the user has it
                env=self._env,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
                check=False,
                timeout=30,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout if done.returncode == 0 else None


def collect(directory: Path, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> tuple[ProjectFile, ...]:
    """The app's files, sorted by path, each hashed. Raises ConfigError for links out of the project."""
    rules = _Rules(
        fixed=GitIgnoreSpec.from_lines((*_LEFT_BEHIND, *_SECRETS)),
        docker=DockerIgnore(_lines(directory / ".dockerignore")),
        include=GitIgnoreSpec.from_lines(include),
        wanted=tuple(row.strip() for row in include if row.strip() and not row.startswith(("#", "!"))),
        exclude=GitIgnoreSpec.from_lines(exclude),
    )
    return tuple(sorted(_walk(directory, directory.resolve(), "", (), rules), key=lambda file: file.path))


def build_tree(directory: Path) -> tuple[ProjectFile, ...]:
    """What a build backend gets to see: everything but what was left behind; its own rules choose among it."""
    nothing = GitIgnoreSpec.from_lines(())
    kept = tuple(row for row in _LEFT_BEHIND if row not in (".gitignore", ".gitattributes"))
    rules = _Rules(GitIgnoreSpec.from_lines((*kept, *_SECRETS)), DockerIgnore(()), nothing, (), nothing)
    found = _walk(directory, directory.resolve(), "", None, rules)
    return tuple(sorted(found, key=lambda file: file.path))


def named(directory: Path, sources: tuple[str, ...]) -> tuple[ProjectFile, ...]:
    """The files that configuration names one by one, whatever the ignore files say. Raises ConfigError."""
    found: dict[str, ProjectFile] = {}
    root = directory.resolve()
    nothing = GitIgnoreSpec.from_lines(())
    rules = _Rules(GitIgnoreSpec.from_lines((".git", "__pycache__/")), DockerIgnore(()), nothing, (), nothing)
    for source in sources:
        path = PurePosixPath(source)
        if path.is_absolute() or ".." in path.parts:
            raise ConfigError(f"{source} is not inside the project", where=str(directory))
        name = "" if str(path) == "." else str(path)
        full = directory / name
        if full.is_dir() and not full.is_symlink():
            found.update((file.path, file) for file in _walk(directory, root, name, None, rules))
        elif full.is_file() or full.is_symlink():
            file = _file(directory, root, name, full.lstat())
            if file is not None:
                found[file.path] = file
        else:
            raise ConfigError(f"{source} does not exist", where=str(directory))
    return tuple(found[path] for path in sorted(found))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


_Stack = tuple[tuple[str, GitIgnoreSpec], ...]


def _walk(directory: Path, root: Path, folder: str, ignores: _Stack | None, rules: _Rules) -> Iterator[ProjectFile]:
    """``ignores`` are the ``.gitignore`` files from the top down to here; None: they do not count."""
    here = directory / folder
    if ignores is not None:
        lines = _lines(here / ".gitignore")
        if lines:
            ignores = (*ignores, (folder, GitIgnoreSpec.from_lines(lines)))
    try:
        rows = sorted(os.scandir(here), key=lambda row: row.name)
    except OSError as problem:
        raise ConfigError(f"cannot read the folder: {problem.strerror}", where=str(here)) from None
    for row in rows:
        path = f"{folder}/{row.name}" if folder else row.name
        try:
            row.name.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"the file name {row.name!r} is not UTF-8", where=str(here)) from None
        is_folder = row.is_dir(follow_symlinks=False)
        if _left_out(path, is_folder=is_folder, ignores=ignores, rules=rules):
            continue
        if is_folder:
            if (Path(row.path) / "pyvenv.cfg").exists():
                continue
            yield from _walk(directory, root, path, ignores, rules)
        else:
            file = _file(directory, root, path, row.stat(follow_symlinks=False))
            if file is not None:
                yield file


def _left_out(path: str, *, is_folder: bool, ignores: _Stack | None, rules: _Rules) -> bool:
    name = path + "/" if is_folder else path
    if rules.exclude.match_file(name):
        return True
    included = rules.include.match_file(name)
    if rules.fixed.match_file(name):
        if not _named_by_include(path, is_folder=is_folder, rules=rules):
            return True
        # What an include pattern names may lie below; folders stay open for it.
        return not included and not (is_folder and _leads_to_include(path, rules))
    if included:
        return False
    verdict = None
    for base, spec in ignores or ():
        inner = name[len(base) + 1 :] if base else name
        result = spec.check_file(inner)
        if result.include is not None:
            verdict = result.include
    if verdict:
        return not (is_folder and _leads_to_include(path, rules))
    # Docker lets a later pattern bring back what lies in an excluded folder, so folders stay open.
    return not is_folder and rules.docker.leaves_out(path)


def _named_by_include(path: str, *, is_folder: bool, rules: _Rules) -> bool:
    """Whether an include pattern says more than ``*`` of what makes the path one that is left out."""
    parts = path.split("/")
    for count, part in enumerate(parts, 1):
        name = "/".join(parts[:count]) + ("/" if is_folder or count < len(parts) else "")
        if rules.fixed.match_file(name):
            return any(
                segment.strip("*?") and fnmatch.fnmatchcase(part, segment)
                for row in rules.wanted
                for segment in row.split("/")
            )
    return False


def _leads_to_include(path: str, rules: _Rules) -> bool:
    """Whether an include pattern may match something below this folder (gitignore's rules for slashes)."""
    parts = path.split("/")
    for row in rules.wanted:
        segments = row.strip("/").split("/")
        if len(segments) == 1 and not row.startswith("/"):
            return True
        for part, segment in zip(parts, segments, strict=False):
            if segment == "**":
                return True
            if not fnmatch.fnmatchcase(part, segment):
                break
        else:
            if len(segments) > len(parts):
                return True
    return False


def _file(directory: Path, root: Path, path: str, found: os.stat_result) -> ProjectFile | None:
    full = directory / path
    if stat.S_ISLNK(found.st_mode):
        target = str(full.readlink())
        real = Path(os.path.realpath(full))
        # By its words too: one that leaves and comes back names the folder that the project happens to be in.
        words = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if target.startswith("/") or words.split("/")[0] == ".." or not real.is_relative_to(root):
            raise ConfigError(
                f"the symbolic link {path} leads out of the project, to {target}",
                where=str(directory),
                hint=f'replace it by the file, or leave it out: exclude = ["{path}"]',
            )
        return ProjectFile(path=path, executable=True, target=target)
    if not stat.S_ISREG(found.st_mode):
        return None
    try:
        with full.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise ConfigError(f"cannot read the file: {problem.strerror}", where=str(full)) from None
    return ProjectFile(
        path=path,
        executable=bool(found.st_mode & 0o111),
        size=found.st_size,
        sha256=digest,
        open=_Opener(str(full)),
    )
