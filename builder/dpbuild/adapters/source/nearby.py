"""What stands on this machine under a name that was given for an image."""

from pathlib import Path
from typing import Final

from dpbuild.adapters.source.archive import TarFiles
from dpbuild.errors import DpbuildError
from dpbuild.oci.reference import ArchiveReference

# Where a build without a destination writes, below the project.
_BUILT: Final = Path(".dpbuild", "image")


def kind_of(name: str) -> str:
    """``file`` or ``folder``; "" where there is neither."""
    try:
        path = Path(name)
        return "folder" if path.is_dir() else "file" if path.is_file() else ""
    except (OSError, ValueError):
        return ""


def reference_of(name: str) -> str:
    """The reference of the image that the file or folder ``name`` holds, as text; "" where it holds none."""
    match kind_of(name):
        case "folder":
            return next((f"oci:{path}" for path in (Path(name), Path(name, _BUILT)) if _is_layout(path)), "")
        case "file":
            return _archive(name)
        case _:
            return ""


def _is_layout(path: Path) -> bool:
    return (path / "oci-layout").is_file()


def _archive(name: str) -> str:
    try:
        files = TarFiles(ArchiveReference(kind="oci-archive", path=name))
    except DpbuildError:
        return ""
    # What has both is read as a layout, which keeps its manifests.
    for kind, mark in (("oci-archive", "oci-layout"), ("docker-archive", "manifest.json")):
        try:
            files.size(mark)
        except FileNotFoundError:
            continue
        return f"{kind}:{name}"
    return ""
