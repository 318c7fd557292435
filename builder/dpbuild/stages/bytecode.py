"""Bytecode, compiled by the base's own interpreter (PEP 3147 for names, PEP 552 for hash-based files).

The same sources give the same bytes in every run and in every sandbox: one fresh process for each call, files
sorted, a fixed hash seed, and nothing imported that is not built in.
"""

from collections.abc import Iterable
from typing import Final, Literal

from dpbuild.errors import SandboxError
from dpbuild.ports.sandbox import Job, Sandbox

Mode = Literal["checked", "unchecked"]

# Part of the key of whatever keeps the result: raise it when the result for the same sources may change.
VERSION: Final = 1

_ENV: Final = (("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8"), ("PYTHONHASHSEED", "0"))
# Nobody runs these in an image.
_TESTS: Final = frozenset({"test", "tests"})


def wanted(path: str) -> bool:
    """Whether a file of an image gets bytecode: a module outside of test folders and bytecode folders.

    ``_sysconfigdata*`` is left out, so that the standard library's bytecode is one blob for all machines.
    """
    *folders, name = path.split("/")
    return (
        name.endswith(".py")
        and not name.startswith("_sysconfigdata")
        and _TESTS.isdisjoint(folders)
        and "__pycache__" not in folders
    )


def bytecode_path(path: str, cache_tag: str, optimize: int) -> str:
    """Where the bytecode of a source belongs, as importlib.util.cache_from_source says (PEP 3147, PEP 488)."""
    folder, slash, name = path.rpartition("/")
    level = f".opt-{optimize}" if optimize else ""
    return f"{folder}{slash}__pycache__/{name.removesuffix('.py')}.{cache_tag}{level}.pyc"


def compile_sources(
    sandbox: Sandbox,
    rootfs: str,
    interpreter: str,
    files: Iterable[tuple[str, bytes]],
    mode: Mode,
    optimize: int = 0,
) -> tuple[tuple[str, bytes], ...]:
    """The bytecode of ``files``, (path in the image, source), as (path in the image, content), sorted.

    ``interpreter`` is its absolute path in the image that ``rootfs`` holds unpacked. Files that ``wanted``
    does not name, and those that do not compile, have no row in the result. Paths may or may not begin with a
    slash; tracebacks show them with one. May be called from several threads, once for each wheel. Raises
    SandboxError.
    """
    rows = sorted((path, source) for path, source in files if wanted(path))
    if not rows:
        return ()
    from importlib.resources import files as resources

    script = resources(__package__).joinpath("bytecode_compile.py.txt").read_text()
    outcome = sandbox.run(
        Job(
            rootfs=rootfs,
            argv=(interpreter, "-s", "-S", "-B", "-W", "ignore", "-c", script, mode, str(optimize)),
            env=_ENV,
            stdin=b"".join(_packed(path, source) for path, source in rows),
        )
    )
    answers = _unpacked(outcome.stdout)
    if outcome.status or len(answers) != len(rows) + 1:
        last = outcome.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise SandboxError(
            f"the base's interpreter did not compile {len(rows)} files: "
            + (last[0] if last else f"it ended with status {outcome.status}"),
            where=rows[min(len(answers), len(rows)) - 1][0],
            hint="bytecode = false builds without bytecode",
        )
    tag = answers[0].decode()
    return tuple(
        sorted(
            (bytecode_path(path, tag, optimize), code)
            for (path, _), code in zip(rows, answers[1:], strict=True)
            if code
        )
    )


def _packed(path: str, source: bytes) -> bytes:
    name = f"/{path.lstrip('/')}".encode()
    return len(name).to_bytes(4, "big") + len(source).to_bytes(4, "big") + name + source


def _unpacked(stream: bytes) -> list[bytes]:
    """Every complete piece of the answer."""
    pieces = []
    at = 0
    while at + 4 <= len(stream):
        size = int.from_bytes(stream[at : at + 4], "big")
        if at + 4 + size > len(stream):
            break
        pieces.append(stream[at + 4 : at + 4 + size])
        at += 4 + size
    return pieces
