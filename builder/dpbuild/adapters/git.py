"""What git says of a project's files: whether the commit that is checked out holds them as they are, and since when.

The files are compared with the commit's tree by content. git's index and ignore files are not asked, since both can be
told to overlook a change. In a repository that git takes for somebody else's, nothing is run that its configuration
could name.
"""

import hashlib
import os
import stat
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from dpbuild.frozen import frozen
from dpbuild.model.files import Committed

_TIMEOUT: Final = 30
# Names of files are bytes for git.
_ENCODING: Final = ("utf-8", "surrogateescape")
_SHALLOW: Final = (
    "the clone is shallow and lacks the commits that touched them: fetch them (fetch-depth: 0, git fetch --unshallow)"
)


class _Unknown(Exception):
    """git does not say; why not."""


@frozen(kw_only=False)
class _Tracked:
    """What the commit has at a path; ``place`` is that path, or the submodule's that it is in."""

    mode: str
    blob: str
    place: str


@frozen(kw_only=False)
class _Checkout:
    """``head`` is the commit; ``boundary`` are commits whose parents a shallow clone lacks."""

    top: Path
    prefix: str
    head: str
    boundary: frozenset[str]


class Git:
    """Asks git about the folder ``folder``; ``env`` is what it is run with."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        # Paths mean themselves, and commits what they are.
        self._env = {**env, "LC_ALL": "C", "GIT_LITERAL_PATHSPECS": "1", "GIT_NO_REPLACE_OBJECTS": "1"}
        self._options = ["-c", "core.fsmonitor=false"]
        self._foreign = False

    def state(self) -> tuple[str, ...]:
        """What decides, with the files, what ``committed`` says; empty where git says nothing."""
        try:
            checkout = self._checkout()
        except _Unknown:
            return ()
        return checkout.head, *sorted(checkout.boundary)

    def committed(
        self, files: Collection[str], ignorable: Mapping[str, str], packed: Collection[str], own: Collection[str]
    ) -> Committed:
        """What git says of ``files`` (paths in the folder), as ``ports/project.py`` has it.

        ``own`` are files and folders that dpbuild writes.
        """
        try:
            checkout = self._checkout()
            tracked = dict(self._tree("", checkout.head, "."))
            odd = self._odd(files, tracked, checkout)
            if any(path in ignorable and path not in tracked for path in odd):
                passed = self._ignored() - tracked.keys()
                held = {blob for path, blob in ignorable.items() if path not in odd}
                counts = {path for path, blob in ignorable.items() if blob in packed and blob not in held}
                odd = [path for path in odd if path not in passed or path not in ignorable or path in counts]
            if odd:
                what = "is not what the last commit has" if odd[0] in tracked else "is not in the last commit"
                return Committed(reason=f"{odd[0]} {what}")
            commit, time = self._last(checkout, {tracked[path].place for path in files if path in tracked})
            if commit in checkout.boundary:
                return Committed(reason=_SHALLOW)
            rest = [path for path in tracked if path not in files and not _below(path, own)]
            whole = not self._odd(rest, tracked, checkout)
            commit, _ = self._last(checkout, {"."}) if whole else ("", 0)
        except _Unknown as problem:
            return Committed(reason=str(problem))
        return Committed(commit="" if commit in checkout.boundary else commit, time=time)

    def _checkout(self) -> _Checkout:
        words = ("--show-toplevel", "--show-prefix", "--is-shallow-repository", "--git-path", "shallow", "HEAD")
        try:
            told = self._run("rev-parse", *words)
        except _Unknown as problem:
            if "dubious ownership" not in str(problem) or self._foreign:
                raise
            # Whoever builds need not be who checked out. Nothing that follows runs what the repository names: no
            # filters, no monitor, no transport.
            self._foreign = True
            self._options += ["-c", "safe.directory=*"]
            self._env |= {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}
            told = self._run("rev-parse", *words)
        top, prefix, shallow, list_of, head = told.split("\n")[:5]
        boundary: frozenset[str] = frozenset()
        if shallow == "true":
            try:
                boundary = frozenset((self._folder / list_of).read_text("ascii").split())
            except (OSError, ValueError):
                raise _Unknown(_SHALLOW) from None
        return _Checkout(Path(top), prefix, head, boundary)

    def _tree(self, inner: str, commit: str, place: str) -> Iterator[tuple[str, _Tracked]]:
        """Everything that a commit has below the folder ``inner``, submodules' files too."""
        for row in self._run("ls-tree", "-r", "-z", commit, inner=inner).split("\0")[:-1]:
            head, _, name = row.partition("\t")
            mode, kind, blob = head.split(" ")
            path = f"{inner}/{name}" if inner else name
            if kind != "commit":
                yield path, _Tracked(mode, blob, path if place == "." else place)
            elif (self._folder / path / ".git").exists():
                try:
                    yield from self._tree(path, blob, path if place == "." else place)
                except _Unknown:
                    # Its files are then in no commit that is known.
                    continue

    def _odd(self, paths: Iterable[str], tracked: Mapping[str, _Tracked], checkout: _Checkout) -> list[str]:
        """Those that are not as the commit has them, sorted."""
        odd = [path for path in sorted(paths) if path not in tracked or not self._same(path, tracked[path])]
        if not odd or self._foreign:
            return odd
        # The end of lines may be another here, and a file of LFS is not what is committed: git knows.
        filtered = [
            path for path in odd
            if path in tracked and tracked[path].place == path and self._mode(path) == _plain(tracked[path].mode)
            and _plain(tracked[path].mode) != "120000" and "\n" not in path and not path.startswith('"')
        ]  # fmt: skip
        if filtered:
            names = "".join(f"{checkout.prefix}{path}\n" for path in filtered)
            try:
                blobs = self._run("hash-object", "--stdin-paths", given=names, folder=checkout.top).split("\n")
            except _Unknown:
                return odd
            same = {path for path, blob in zip(filtered, blobs, strict=False) if blob == tracked[path].blob}
            odd = [path for path in odd if path not in same]
        return odd

    def _same(self, path: str, tracked: _Tracked) -> bool:
        full, mode = self._folder / path, self._mode(path)
        if mode != _plain(tracked.mode):
            return False
        # gitformat-object: the name of a blob is the hash of a header and the content.
        hasher = hashlib.new("sha1" if len(tracked.blob) == 40 else "sha256", usedforsecurity=False)
        try:
            if mode == "120000":
                target = os.fsencode(full.readlink())
                hasher.update(b"blob %d\0" % len(target) + target)
            else:
                with full.open("rb") as file:
                    hasher.update(b"blob %d\0" % os.fstat(file.fileno()).st_size)
                    while chunk := file.read(1 << 20):
                        hasher.update(chunk)
        except OSError:
            return False
        return hasher.hexdigest() == tracked.blob

    def _mode(self, path: str) -> str:
        """As a tree has it; "" for what is neither file nor link."""
        try:
            found = (self._folder / path).lstat().st_mode
        except OSError:
            return ""
        if stat.S_ISLNK(found):
            return "120000"
        return "" if not stat.S_ISREG(found) else "100755" if found & 0o100 else "100644"

    def _ignored(self) -> frozenset[str]:
        """What the folder's own ``.gitignore`` files name, and no others."""
        told = self._run("ls-files", "-z", "--others", "--ignored", "--exclude-per-directory=.gitignore")
        return frozenset(told.split("\0"))

    def _last(self, checkout: _Checkout, places: Iterable[str]) -> tuple[str, int]:
        """The last commit that touched one of these paths, and its time; it may be the clone's boundary."""
        # A row each, so one with a line break stands for the whole folder.
        rows = sorted({"." if "\n" in place else place for place in places} or {"."})
        given = "".join(f"{row}\n" for row in ("--", *rows))
        told = self._run("rev-list", "--max-count=1", "--format=%ct", checkout.head, "--stdin", given=given)
        first, _, time = told.strip().partition("\n")
        if not time.isdigit():
            raise _Unknown("no commit touched them")
        return first.removeprefix("commit "), int(time)

    def _run(self, *words: str, inner: str = "", given: str = "", folder: Path | None = None) -> str:
        where = str((folder or self._folder) / inner)
        try:
            done = subprocess.run(
                ["git", *self._options, "-C", where, *words],  # noqa: S607 - git is where the user has it
                env=self._env,
                input=given,
                capture_output=True,
                encoding=_ENCODING[0],
                errors=_ENCODING[1],
                check=False,
                timeout=_TIMEOUT,
            )
        except FileNotFoundError:
            raise _Unknown("git is not installed") from None
        except (OSError, subprocess.SubprocessError) as problem:
            raise _Unknown(f"git does not work: {problem}") from None
        if done.returncode == 0:
            return done.stdout
        if "unknown revision" in done.stderr:
            raise _Unknown("there is no commit yet")
        raise _Unknown(f"git says: {(done.stderr.strip().splitlines() or ['nothing'])[0]}")


def _plain(mode: str) -> str:
    """Old repositories have other permissions than the two that there are."""
    return ("100755" if int(mode, 8) & 0o100 else "100644") if mode.startswith("100") else mode


def _below(path: str, folders: Collection[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)
