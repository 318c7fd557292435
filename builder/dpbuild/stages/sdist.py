"""What an sdist says of itself before anything of it is run (PyPA specs, "Source distribution format"). Pure.

The format is a compressed tar; indexes still have older ones that are a zip.
"""

import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Final

from dpbuild.archive import zip as strict_zip
from dpbuild.archive.deflate import Splicer
from dpbuild.archive.read import ReadError, entries, open_layer
from dpbuild.errors import ArtifactError, SandboxError
from dpbuild.frozen import frozen
from dpbuild.model.config import Project
from dpbuild.pypa import required
from dpbuild.pypa.headers import Headers
from dpbuild.stages.layers.content import Archived

# What an sdist may unpack to, and what its two small files may hold, in bytes.
_LARGEST: Final = 8 << 30
_TEXT: Final = 16 << 20
# Sources that only a compiler turns into something; Fortran and Rust among them, so that the error is the compiler's.
_COMPILED: Final = frozenset(
    {".c", ".cc", ".cpp", ".cxx", ".c++", ".cu", ".m", ".mm", ".pyx", ".pxd", ".f", ".f77", ".f90", ".f95", ".rs", ".s"}
)
# Build requirements of projects that compile, also such as write their C files themselves.
_COMPILERS: Final = frozenset(
    {"cffi", "cython", "maturin", "meson-python", "mypy", "nanobind", "numpy", "pybind11", "scikit-build"}
    | {"scikit-build-core", "setuptools-rust", "sip", "swig"}
)


@frozen
class Sdist:
    """``names`` are the paths of its files below its one folder; ``metadata`` is PKG-INFO, "" where there is none."""

    project: Project
    names: tuple[str, ...]
    metadata: str


def read(file: BinaryIO, filename: str, name: str, version: str) -> Sdist:
    """Read an sdist. Raises ArtifactError for one that is broken, or of another format than a compressed tar."""
    names = []
    texts = {"pyproject.toml": "", "PKG-INFO": ""}
    try:
        for path, content in _zipped(file, filename) if filename.endswith(".zip") else _tarred(file):
            if not path:
                continue
            names.append(path)
            if path in texts:
                texts[path] = content()[:_TEXT].decode("utf-8", "replace")
    except (ReadError, strict_zip.ZipError) as problem:
        raise ArtifactError(f"{filename} cannot be read: {problem}") from None
    try:
        system = tomllib.loads(texts["pyproject.toml"]).get("build-system", {})
    except tomllib.TOMLDecodeError as problem:
        raise ArtifactError(f"pyproject.toml in {filename} is not valid TOML: {problem}") from None
    system = system if isinstance(system, dict) else {}
    project = Project(
        name=name,
        version=version,
        build_requires=_strings(system.get("requires")),
        build_backend=str(system.get("build-backend", "")),
        backend_path=_strings(system.get("backend-path")),
        has_build_system=bool(system),
    )
    return Sdist(project=project, names=tuple(names), metadata=texts["PKG-INFO"])


def _tarred(file: BinaryIO) -> Iterator[tuple[str, Callable[[], bytes]]]:
    stream, _ = open_layer(file, limit=_LARGEST)
    for entry, content in entries(stream):
        if content is not None:
            yield entry.path.partition("/")[2], lambda content=content: content.read(_TEXT)  # type: ignore[misc]


def _zipped(file: BinaryIO, filename: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    return ((path, content) for path, _, content in unzipped(file, filename))


def unzipped(file: BinaryIO, filename: str) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """The files of an sdist that is a zip: path below its one folder, mode (0 where none is said), and the content,
    verified. Raises ZipError, and UnsafeWheel from a content.
    """

    def read(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    file.seek(0, 2)
    found = strict_zip.members(read, file.tell())
    if sum(row.size for row in found) > _LARGEST:
        raise strict_zip.ZipError(f"it unpacks to more than {_LARGEST} bytes")
    splicer = Splicer()
    try:
        for row in found:
            content = Archived(read, row, "", b"", filename, join=False)
            yield row.name.partition("/")[2], row.mode, lambda content=content: content.data(splicer)  # type: ignore[misc]
    finally:
        splicer.close()


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(str(row) for row in value) if isinstance(value, list) else ()


def compiles(names: Iterable[str], requirements: Iterable[str]) -> bool:
    """Whether building takes a compiler, by the names of the files and the build requirements."""
    if any(posixpath.splitext(name)[1].lower() in _COMPILED for name in names):
        return True
    return any(required(text) in _COMPILERS for text in requirements)


def check_static(found: Sdist, title: str, instead: str) -> None:
    """Raises SandboxError, which says what to do ``instead``, if only a build knows what the sdist requires."""
    if not static_metadata(found.metadata):
        raise SandboxError(f"asking {title} what it requires takes an emulated builder; {instead}")


def static_metadata(text: str) -> str:
    """``text`` if it is METADATA that a build cannot change (PEP 643), else ""."""
    fields = Headers(text)
    version = tuple(int(part) for part in re.findall(r"\d+", fields.first("Metadata-Version"))[:2])
    dynamic = {row.lower() for row in fields.every("Dynamic")}
    return text if version >= (2, 2) and not dynamic & {"requires-dist", "provides-extra", "requires-python"} else ""
