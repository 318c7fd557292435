"""Downloads by the builder's pip, for indexes that only the builder reaches; verified here, by what the lock says.

pip's own `download` would build sdists to learn their names; so pip's session fetches the addresses that the lock has.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from dpbuild.adapters.fetch import OTHER_INDEX, commit_file, refusal
from dpbuild.adapters.pip_builder import BuilderPip
from dpbuild.adapters.pip_settings import bare, hidden
from dpbuild.errors import ArtifactError, LockError
from dpbuild.model.lock import LockedFile
from dpbuild.oci.digest import Digest
from dpbuild.ports.fetcher import Fetcher
from dpbuild.ports.store import Store

_CHUNK: Final = 1 << 20
# What one run in the builder fetches at the most: each file is locked meanwhile.
_BATCH: Final = 100


class BuilderFetcher:
    """Implements ``ports.fetcher.BatchFetcher``. ``pip`` is called when something is downloaded; ``host`` fetches what
    lies in folders of the project.
    """

    def __init__(self, pip: Callable[[], BuilderPip], store: Store, host: Fetcher, *, offline: bool = False) -> None:
        self._pip = pip
        self._store = store
        self._host = host
        self._offline = offline

    def fetch(self, file: LockedFile, directory: str) -> int:
        """Bring the file into the store; returns the bytes moved. Raises HashMismatch, ArtifactError, SandboxError."""
        return self.fetch_all([file], directory)

    def fetch_all(self, files: Sequence[LockedFile], directory: str) -> int:
        """Bring the files into the store, as few runs in the builder as can be; returns the bytes moved."""
        moved = sum(self._host.fetch(file, directory) for file in files if file.path)
        # By hash: in the same order in every run, so that none waits for another in a circle.
        rest = sorted({file.sha256: file for file in files if not file.path}.items())
        for start in range(0, len(rest), _BATCH):
            moved += self._batch([file for _, file in rest[start : start + _BATCH]])
        return moved

    def _batch(self, files: Sequence[LockedFile]) -> int:
        missing = [file for file in files if not self._store.has(Digest(file.sha256))]
        if missing and self._offline:
            raise ArtifactError(
                f"{missing[0].name} is not in the store, and dpbuild is offline", hint="build once without --offline"
            )
        with contextlib.ExitStack() as stack:
            for file in missing:
                stack.enter_context(self._store.alone("fetch", file.sha256))
            # Another run may have brought it meanwhile.
            wanted = {file.sha256: file for file in missing if not self._store.has(Digest(file.sha256))}
            return self._fetched(wanted) if wanted else 0

    def _fetched(self, wanted: dict[str, LockedFile]) -> int:
        rows = [(sha256, file.url) for sha256, file in wanted.items()]
        moved = 0
        try:
            with self._pip().fetched(rows) as (folder, answers):
                for sha256, status, said in answers:
                    file = wanted[sha256]
                    where = bare(file.url)
                    if not status:
                        what = f"cannot download {file.name} in the builder: {hidden(said, [file.url])}"
                        raise ArtifactError(what, where=where)
                    if status != 200:
                        raise refusal(file, status, where)
                    moved += self._keep(file, Path(folder, sha256), where)
        except LockError as problem:
            raise ArtifactError(
                f"nothing can be downloaded: {problem.what}", where=problem.where, hint=problem.hint
            ) from None
        return moved

    def _keep(self, file: LockedFile, path: Path, where: str) -> int:
        with path.open("rb") as source, self._store.writer() as writer:
            while chunk := source.read(_CHUNK):
                writer.write(chunk)
            return commit_file(writer.commit, file, where, OTHER_INDEX)[1]
