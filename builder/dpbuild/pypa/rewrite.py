"""A wheel written anew: the same files whatever wrote it, with other platform tags where they are more honest."""

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from typing import Final

from dpbuild.pypa import record
from dpbuild.pypa.wheel import WheelError, metadata_members

# The earliest time that a zip can hold (PKWARE APPNOTE 4.4.6).
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3
_REGULAR: Final = 0o100000
_UNLISTED: Final = ("RECORD", "RECORD.jws", "RECORD.p7s")


def contents(data: bytes) -> dict[str, tuple[bytes, int]]:
    """The files of a zip with their Unix modes, sorted by name. Raises WheelError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            rows = [row for row in archive.infolist() if not row.is_dir()]
            return {
                row.filename: (archive.read(row), row.external_attr >> 16)
                for row in sorted(rows, key=lambda row: row.filename)
            }
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, OSError) as problem:
        raise WheelError(f"it cannot be read: {problem}") from None


def retag(filename: str, platform: str) -> str:
    """The file name with another platform tag: ``retag("a-1-cp313-cp313-linux_x86_64.whl", …)``."""
    stem = filename.removesuffix(".whl")
    return f"{stem.rpartition('-')[0]}-{platform}.whl"


def rewrite(filename: str, files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A wheel with these files, sorted, stored without compression, tagged as ``filename`` says.

    Nothing in it depends on a clock, a compressor or the order of a folder. Raises WheelError.
    """
    dist_info, _ = metadata_members(filename, files)
    out: dict[str, tuple[bytes, int]] = {
        name: row for name, row in files.items() if name not in [f"{dist_info}/{each}" for each in _UNLISTED]
    }
    about = f"{dist_info}/WHEEL"
    if about not in out:
        raise WheelError(f"it has no {about}")
    out[about] = (_tagged(out[about][0], filename), out[about][1])
    rows = [
        record.Row(path=name, algorithm="sha256", digest=hashlib.sha256(content).digest(), size=len(content))
        for name, (content, _) in out.items()
    ]
    own = f"{dist_info}/RECORD"
    out[own] = (record.render([*rows, record.Row(path=own)]), 0o644)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(out):
            content, mode = out[name]
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system = _UNIX
            info.external_attr = (_REGULAR | (0o755 if mode & 0o111 else 0o644)) << 16
            archive.writestr(info, content)
    return target.getvalue()


def _tagged(about: bytes, filename: str) -> bytes:
    """WHEEL with the tags of the file name."""
    interpreters, abis, platforms = filename.removesuffix(".whl").split("-")[-3:]
    tags = [
        f"Tag: {interpreter}-{abi}-{platform}"
        for interpreter in interpreters.split(".")
        for abi in abis.split(".")
        for platform in platforms.split(".")
    ]
    lines = [line for line in about.decode("utf-8", "replace").splitlines() if not re.match(r"(?i)tag\s*:", line)]
    while lines and not lines[-1].strip():
        lines.pop()
    return "".join(f"{line}\n" for line in (*lines, *tags)).encode()
