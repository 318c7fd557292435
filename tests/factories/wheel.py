"""Small real wheels, the same bytes every time."""

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Mapping

_DATE = (1980, 1, 1, 0, 0, 0)


def normalised(name: str) -> str:
    """The name as it stands in a wheel's file name."""
    return re.sub(r"[-_.]+", "_", name).lower()


def make_wheel(
    name: str,
    version: str,
    tag: str = "py3-none-any",
    *,
    files: Mapping[str, bytes | str] | None = None,
    requires: Iterable[str] = (),
    entry_points: Mapping[str, str] | str | None = None,
    requires_python: str = "",
    extras: Mapping[str, Iterable[str]] | None = None,
    build: str = "",
    executable: Iterable[str] = (),
    method: int = zipfile.ZIP_DEFLATED,
    record: bytes | None = None,
) -> tuple[str, bytes]:
    """File name and bytes of a wheel with a correct RECORD.

    ``entry_points`` maps console scripts to ``module:function``, or is the file's text; ``files`` are paths in the wheel (without
    any, a module named like the distribution is made); ``record`` replaces RECORD's bytes.
    """
    stem = f"{normalised(name)}-{version}"
    info = f"{stem}.dist-info"
    if files is None:
        files = {f"{normalised(name)}.py": f'__version__ = "{version}"\n'}
    pure = tag.endswith("-none-any")
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    if requires_python:
        metadata.append(f"Requires-Python: {requires_python}\n")
    metadata += [f"Requires-Dist: {row}\n" for row in requires]
    for extra, rows in (extras or {}).items():
        metadata.append(f"Provides-Extra: {extra}\n")
        metadata += [f'Requires-Dist: {row} ; extra == "{extra}"\n' for row in rows]
    pythons, abi, platforms = tag.split("-")
    tags = [f"{p}-{a}-{m}" for p in pythons.split(".") for a in abi.split(".") for m in platforms.split(".")]
    wheel = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {str(pure).lower()}\n"
    if build:
        wheel += f"Build: {build}\n"
    wheel += "".join(f"Tag: {row}\n" for row in tags)
    content = {path: text.encode() if isinstance(text, str) else text for path, text in sorted(files.items())}
    content[f"{info}/METADATA"] = "".join(metadata).encode()
    content[f"{info}/WHEEL"] = wheel.encode()
    if entry_points:
        if not isinstance(entry_points, str):
            entry_points = "[console_scripts]\n" + "".join(f"{a} = {b}\n" for a, b in entry_points.items())
        content[f"{info}/entry_points.txt"] = entry_points.encode()
    rows = [f"{path},sha256={_hash(data)},{len(data)}\n" for path, data in content.items()]
    rows.append(f"{info}/RECORD,,\n")
    content[f"{info}/RECORD"] = "".join(rows).encode() if record is None else record
    programs = set(executable)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for path, data in content.items():
            member = zipfile.ZipInfo(path, _DATE)
            member.create_system = 3
            member.external_attr = (0o100755 if path in programs else 0o100644) << 16
            member.compress_type = method
            archive.writestr(member, data)
    suffix = f"-{build}" if build else ""
    return f"{stem}{suffix}-{tag}.whl", out.getvalue()


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
