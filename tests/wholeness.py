"""What must be true of a store and of outputs, whenever a run was killed."""

import hashlib
import json
import tarfile
from pathlib import Path

from e2e_tools import image_row

_FOLDERS = {"blobs", "maps", "trees", "tmp", "logs", "uv", "lock", "dpbuild-store-1"}


def check_store(store: Path, like: Path | None = None) -> None:
    """Every blob has its digest, every mapping decodes; trees are as in another store, which nobody disturbed."""
    if not store.exists():
        return
    assert {path.name for path in store.iterdir()} <= _FOLDERS
    for path in (store / "blobs/sha256").glob("*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    for path in (store / "maps").glob("*/*"):
        data = path.read_bytes()
        assert hashlib.sha256(data[32:]).digest() == data[:32], path
    for tree in (store / "trees").glob("*/*"):
        if like is not None:
            assert listing(tree) == listing(like / tree.relative_to(store)), tree


def check_clean(store: Path) -> None:
    """Nothing is left of runs that ended."""
    assert [str(path) for path in (store / "tmp").iterdir()] == []


def listing(folder: Path) -> set[tuple[str, int]]:
    """The files below a folder, with their sizes."""
    rows = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {(str(path.relative_to(folder)), path.stat().st_size) for path in rows}


def layout_digest(path: Path) -> str | None:
    """The image in a layout, None if there is none yet; everything that it refers to must be there and right."""
    if not (path / "index.json").exists():
        return None
    row = image_row((path / "index.json").read_text())
    todo = [entry["digest"] for entry in json.loads((path / "index.json").read_text())["manifests"]]
    while todo:
        digest = todo.pop()
        data = (path / "blobs/sha256" / digest[7:]).read_bytes()
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == digest
        if data.startswith(b"{"):
            value = json.loads(data)
            inner = (*value.get("manifests", ()), *value.get("layers", ()), value.get("config"))
            todo += [entry["digest"] for entry in inner if isinstance(entry, dict) and "digest" in entry]
    return str(row["digest"])


def archive_digest(path: Path) -> str | None:
    """The image in an archive, None if there is no file; the file must be whole."""
    if not path.exists():
        return None
    with tarfile.open(path) as tar:
        names = {}
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                names[member.name] = file.read()
    for name, data in names.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]
    return str(image_row(names["index.json"])["digest"])
