"""A copied app, and the files that are put beside it: which path in the image each of them gets. Pure."""

from collections.abc import Sequence

from dpbuild.archive.entry import deletes
from dpbuild.errors import ConfigError
from dpbuild.model.config import FileCopy
from dpbuild.model.files import ProjectFile
from dpbuild.stages.image import APP
from dpbuild.stages.layers.content import Data, FromFile
from dpbuild.stages.layers.wheels import Planned


def copied(files: Sequence[ProjectFile], root: str = APP) -> list[Planned]:
    """The app's files below ``root``. Raises ConfigError for a name that would delete files in the image."""
    return [_planned(file, f"{root}/{file.path}") for file in files]


def placed(files: Sequence[ProjectFile], row: FileCopy) -> list[Planned]:
    """The files of one ``files`` row; a ``to`` that ends in a slash is a folder. Raises ConfigError."""
    source = row.source.strip("/").removeprefix("./")
    if not row.target.startswith("/"):
        raise ConfigError(f"files: to = {row.target!r} is not an absolute path")
    found = []
    owner = f"files (from = {row.source!r})"
    for file in files:
        if file.path == source:
            name = file.path.rpartition("/")[2]
            found.append(_planned(file, f"{row.target}{name}" if row.target.endswith("/") else row.target, owner))
        elif source in ("", ".") or file.path.startswith(source + "/"):
            rest = file.path if source in ("", ".") else file.path[len(source) + 1 :]
            found.append(_planned(file, f"{row.target.rstrip('/')}/{rest}", owner))
    if not found:
        raise ConfigError(f"files: from = {row.source!r} names no file of the project")
    return found


def mains(files: Sequence[ProjectFile]) -> tuple[list[str], list[str]]:
    """Packages with ``__main__`` and scripts, both at the top of a copied app, sorted."""
    packages = [
        file.path.split("/")[0] for file in files if file.path.count("/") == 1 and file.path.endswith("/__main__.py")
    ]
    top = sorted(file.path for file in files if "/" not in file.path and file.path.endswith(".py"))
    if "__main__.py" in top:
        return sorted(packages), ["__main__.py"]
    scripts = [name for name in top if name not in ("setup.py", "conftest.py", "noxfile.py", "__init__.py")]
    return sorted(packages), scripts


def _planned(file: ProjectFile, path: str, owner: str = "the app") -> Planned:
    if deletes(path):
        raise ConfigError(
            f"the file {file.path} would delete files in the image, where it is /{path.lstrip('/')}",
            where=file.path,
            hint=f'names that begin with .wh. are for layers; rename it, or leave it out: exclude = ["{file.path}"]',
        )
    identity = ("link", file.target.encode()) if file.target else ("sha256", bytes.fromhex(file.sha256))
    return Planned(
        path=path.lstrip("/"),
        mode=0o755 if file.executable else 0o644,
        content=Data(b"") if file.target else FromFile(file),
        identity=identity,
        owner=owner,
        target=file.target,
    )
