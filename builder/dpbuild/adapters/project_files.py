"""Which files of a project belong to the app.

Left out are what ``.gitignore`` and ``.dockerignore`` exclude, what tools leave behind, and what holds secrets;
``include`` brings back what it names (secrets only by a pattern with their name), ``exclude`` has the last word.
"""

import fnmatch
import hashlib
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from dpbuild.adapters import project_notes
from dpbuild.adapters.dockerignore import DockerIgnore
from dpbuild.adapters.project_secrets import SECRETS, holds_key
from dpbuild.adapters.trace import Trace, is_own
from dpbuild.errors import ConfigError
from dpbuild.frozen import field, frozen, replace
from dpbuild.model.files import ProjectFile

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

# Never part of an app: version control, environments, what tools keep for themselves, and our own output.
_LEFT_BEHIND: Final = (
    ".git", ".hg", ".svn", ".jj", ".dpbuild/", "__pycache__/", "*.py[co]", ".venv/", "*.egg-info/",
    ".mypy_cache/", ".pytest_cache/", ".ruff_cache/", ".hypothesis/", ".tox/", ".nox/", ".coverage", "node_modules/",
    ".DS_Store", ".idea/", ".vscode/", "/pylock.dpbuild.toml", "/pylock.dpbuild-build.toml", "/dpbuild.toml",
    "/.pylock.dpbuild*.new",
    ".gitignore", ".gitattributes", ".dockerignore", "/Dockerfile", "/Dockerfile.*",
)  # fmt: skip

Note = Callable[[str], None]


@frozen(kw_only=False)
class _Opener:
    path: str

    def __call__(self) -> BinaryIO:
        return Path(self.path).open("rb")


@frozen(kw_only=False)
class _Rules:
    fixed: "GitIgnoreSpec"
    docker: DockerIgnore
    include: "GitIgnoreSpec"
    wanted: tuple[str, ...]
    exclude: "GitIgnoreSpec"
    # What tools leave behind: ``fixed`` without the secrets.
    behind: "GitIgnoreSpec"
    # Whether ``.gitignore`` leaves something out, or only says what is left out without a word.
    ignoring: bool = True


def collect(
    directory: Path,
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    trace: Trace | None = None,
    own: frozenset[str] = frozenset(),
    note: Note = lambda text: None,
) -> tuple[ProjectFile, ...]:
    """The app's files, sorted by path, each hashed. Raises ConfigError for links out of the project.

    ``own`` are paths that this run writes to; they are passed over, here and in the others, as if not there. ``note``
    says which files are left out because of what they hold or may hold, and which patterns are about none.
    """
    from pathspec import GitIgnoreSpec

    view = _View(directory, directory.resolve(), trace or Trace(), own, note)
    rules = _Rules(
        fixed=GitIgnoreSpec.from_lines((*_LEFT_BEHIND, *SECRETS)),
        docker=DockerIgnore(view.lines(".dockerignore")),
        include=GitIgnoreSpec.from_lines(include),
        wanted=tuple(row.strip() for row in include if row.strip() and not row.startswith(("#", "!"))),
        exclude=GitIgnoreSpec.from_lines(exclude),
        behind=GitIgnoreSpec.from_lines(_LEFT_BEHIND),
    )
    found = sorted(_walk(view, "", (), rules), key=lambda file: file.path)
    for text in (
        project_notes.secrets(view.secrets, chosen=True),
        project_notes.images(directory, [file.path for file in found]),
        *project_notes.without_effect("include", include, view.names),
        *project_notes.without_effect("exclude", exclude, view.names),
    ):
        view.tell(text)
    return tuple(found)


def build_tree(
    directory: Path,
    trace: Trace | None = None,
    own: frozenset[str] = frozenset(),
    note: Note = lambda text: None,
) -> tuple[ProjectFile, ...]:
    """What a build backend gets to see: everything but what was left behind; its own rules choose among it."""
    from pathspec import GitIgnoreSpec

    nothing = GitIgnoreSpec.from_lines(())
    kept = tuple(row for row in _LEFT_BEHIND if row not in (".gitignore", ".gitattributes"))
    behind, fixed = GitIgnoreSpec.from_lines(kept), GitIgnoreSpec.from_lines((*kept, *SECRETS))
    rules = _Rules(fixed, DockerIgnore(()), nothing, (), nothing, behind, ignoring=False)
    view = _View(directory, directory.resolve(), trace or Trace(), own, note)
    found = sorted(_walk(view, "", (), rules), key=lambda file: file.path)
    view.tell(project_notes.secrets(view.secrets, chosen=False))
    return tuple(found)


def named(
    directory: Path, sources: tuple[str, ...], trace: Trace | None = None, own: frozenset[str] = frozenset()
) -> tuple[ProjectFile, ...]:
    """The files that configuration names one by one, whatever the ignore files say. Raises ConfigError."""
    found: dict[str, ProjectFile] = {}
    view = _View(directory, directory.resolve(), trace or Trace(), own)
    for source in sources:
        if what := lacking(directory, source):
            raise ConfigError(what, where=str(directory))
        path = PurePosixPath(source)
        name = "" if str(path) == "." else str(path)
        full = directory / name
        if full.is_dir() and not full.is_symlink():
            found.update((file.path, file) for file in _below(view, name))
        else:
            file = view.file(name, full.lstat())
            if file is not None:
                found[file.path] = file
    return tuple(found[path] for path in sorted(found))


def lacking(directory: Path, source: str) -> str:
    """Why a name of the configuration names no file or folder of the project, or ""."""
    path = PurePosixPath(source)
    if path.is_absolute() or ".." in path.parts:
        return f"{source} is not inside the project"
    full = directory / path
    there = full.is_dir() or full.is_file() or full.is_symlink()
    return "" if there else f"{source} does not exist"


@frozen(kw_only=False)
class _View:
    """The project's folder as it is walked; ``root`` is its real path. What is seen goes to ``trace``.

    ``own`` is what this run writes.
    """

    directory: Path
    root: Path
    trace: Trace
    own: frozenset[str]
    note: Note = lambda text: None
    # Every path that was looked at, that of a folder with a slash; and what was left out for its name alone.
    names: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        """A note, if there is something to say."""
        if text:
            self.note(text)

    def lines(self, path: str) -> list[str]:
        """The lines of a text file; none where there is none."""
        try:
            data = (self.directory / path).read_bytes()
        except OSError:
            self.trace.absent(path)
            return []
        self.trace.file(path, hashlib.sha256(data).hexdigest())
        return data.decode("utf-8", "replace").splitlines()

    def holds(self, path: str) -> bool:
        """Whether there is something at ``path``."""
        try:
            data = (self.directory / path).read_bytes()
        except OSError:
            return (self.directory / path).exists()
        self.trace.file(path, hashlib.sha256(data).hexdigest())
        return True

    def rows(self, folder: str) -> "Iterator[tuple[os.DirEntry[str], str, bool]]":
        """What is in a folder, sorted: the entry, its path, whether it is a folder. Raises ConfigError."""
        here = self.directory / folder
        try:
            rows = sorted(os.scandir(here), key=lambda row: row.name)
            rows = [row for row in rows if not is_own(folder, row.name, self.own)]
        except OSError as problem:
            raise ConfigError(f"cannot read the folder: {problem.strerror}", where=str(here)) from None
        folders = {row.name for row in rows if row.is_dir(follow_symlinks=False)}
        self.trace.folder(folder, (f"{row.name}/" if row.name in folders else row.name for row in rows))
        for row in rows:
            try:
                row.name.encode()
            except UnicodeEncodeError:
                raise ConfigError(f"the file name {row.name!r} is not UTF-8", where=str(here)) from None
            yield row, f"{folder}/{row.name}" if folder else row.name, row.name in folders

    def file(self, path: str, found: os.stat_result) -> ProjectFile | None:
        """The file at ``path``; None for what is none. Raises ConfigError."""
        full = self.directory / path
        if stat.S_ISLNK(found.st_mode):
            target = str(full.readlink())
            real = Path(os.path.realpath(full))
            # By its words too: one that leaves and comes back names the folder that the project happens to be in.
            words = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            if target.startswith("/") or words.split("/")[0] == ".." or not real.is_relative_to(self.root):
                raise ConfigError(
                    f"the symbolic link {path} leads out of the project, to {target}",
                    where=str(self.directory),
                    hint=f'replace it by the file, or leave it out: exclude = ["{path}"]',
                )
            self.trace.link(path, target)
            return ProjectFile(path=path, executable=True, target=target)
        if not stat.S_ISREG(found.st_mode):
            return None
        try:
            with full.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as problem:
            raise ConfigError(f"cannot read the file: {problem.strerror}", where=str(full)) from None
        self.trace.file(path, digest, found.st_mode)
        return ProjectFile(
            path=path,
            executable=bool(found.st_mode & 0o111),
            size=found.st_size,
            sha256=digest,
            open=_Opener(str(full)),
        )


def _below(view: "_View", folder: str) -> Iterator[ProjectFile]:
    """The files in a folder that is named, but for what nobody means."""
    for row, path, is_folder in view.rows(folder):
        *folders, last = path.split("/")
        if ".git" in (*folders, last) or "__pycache__" in (*folders, last if is_folder else ""):
            continue
        if is_folder:
            if not view.holds(f"{path}/pyvenv.cfg"):
                yield from _below(view, path)
        elif (file := view.file(path, row.stat(follow_symlinks=False))) is not None:
            yield file


_Stack = tuple[tuple[str, "GitIgnoreSpec"], ...]


def _walk(view: "_View", folder: str, ignores: "_Stack", rules: _Rules) -> Iterator[ProjectFile]:
    """``ignores`` are the ``.gitignore`` files from the top down to here."""
    lines = view.lines(f"{folder}/.gitignore" if folder else ".gitignore")
    if lines:
        from pathspec import GitIgnoreSpec

        ignores = (*ignores, (folder, GitIgnoreSpec.from_lines(lines)))
    for row, path, is_folder in view.rows(folder):
        view.names.append(f"{path}/" if is_folder else path)
        if _left_out(path, is_folder=is_folder, ignores=ignores if rules.ignoring else (), rules=rules):
            secret = _is_secret(path, is_folder=is_folder, ignores=ignores, rules=rules)
            if secret and not (is_folder and view.holds(f"{path}/pyvenv.cfg")):
                view.secrets.append(view.names[-1])
            continue
        if is_folder:
            if not view.holds(f"{path}/pyvenv.cfg"):
                yield from _walk(view, path, ignores, rules)
        else:
            file = view.file(path, row.stat(follow_symlinks=False))
            if file is None:
                continue
            if holds_key(file) and not _named(path, rules):
                # A build backend's files are not chosen by include.
                hint = "" if not rules.ignoring else f'; include = ["{path}"] takes it in'
                view.note(f"{path} is left out, because it holds a private key{hint}")
                continue
            yield file


def _is_secret(path: str, *, is_folder: bool, ignores: _Stack, rules: _Rules) -> bool:
    """Whether what is left out would not be, but for its name."""
    if not rules.fixed.match_file(f"{path}/" if is_folder else path):
        return False
    plain = replace(rules, fixed=rules.behind)
    return not rules.docker.leaves_out(path) and not _left_out(path, is_folder=is_folder, ignores=ignores, rules=plain)


def _named(path: str, rules: _Rules) -> bool:
    """Whether an include pattern means this file, by more than ``*``."""
    name = path.rpartition("/")[2]
    segments = (segment for row in rules.wanted for segment in row.split("/"))
    meant = any(segment.strip("*?") and fnmatch.fnmatchcase(name, segment) for segment in segments)
    return meant and bool(rules.include.match_file(path))


def _left_out(path: str, *, is_folder: bool, ignores: _Stack, rules: _Rules) -> bool:
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
    for base, spec in ignores:
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
