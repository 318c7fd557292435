"""pip-compile in a builder: for requirements whose metadata only the base's own Python can tell."""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

from dpbuild.adapters.backend import BUNDLE, USER, Outside
from dpbuild.adapters.backend_folders import HOME, RESULTS, SITE, SOURCE, folders
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import LockError, UnsupportedRequirement
from dpbuild.model.artifact import Artifact
from dpbuild.model.files import ProjectFile
from dpbuild.ports.sandbox import Job, Mount, Sandbox, TimedOut

OUTPUT: Final = "requirements.txt"
_LAST_LINES: Final = 20


def pip_environment(uv: Mapping[str, str]) -> dict[str, str]:
    """Where packages come from, in pip's words, from uv's (uv's reference, "Environment variables")."""
    first = uv.get("UV_DEFAULT_INDEX") or uv.get("UV_INDEX_URL", "")
    more = [*uv.get("UV_INDEX", "").split(), *uv.get("UV_EXTRA_INDEX_URL", "").split()]
    found = {
        "PIP_INDEX_URL": _url(first),
        "PIP_EXTRA_INDEX_URL": " ".join(_url(row) for row in more),
        "PIP_NO_INDEX": "1" if uv.get("UV_NO_INDEX", "") not in ("", "0", "false") else "",
    }
    return {name: value for name, value in found.items() if value}


def _url(text: str) -> str:
    """The address of ``name=https://…``."""
    name, equals, rest = text.partition("=")
    return rest if equals and "/" not in name else text


def compile_in(
    start: Callable[[], tuple[Sandbox, str]],
    store: DiskStore,
    interpreter: str,
    wheels: Sequence[Artifact],
    files: Mapping[str, str],
    arguments: Sequence[str],
    *,
    outside: Outside,
    index: Mapping[str, str],
    timeout: float,
) -> str:
    """What pip-compile makes of ``files``, the requirements in ``requirements.in``; ``wheels`` are its own.

    Raises UnsupportedRequirement (41), LockError (40), SandboxError.
    """
    sources = [ProjectFile(path=name, open=_opener(text)) for name, text in files.items()]
    env = {
        **dict(outside.env),
        **index,
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PATH": f"{SITE}/bin:/usr/local/bin:/usr/bin:/bin",
        "PIP_CACHE_DIR": f"{HOME}/cache",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": SITE,
        "TZ": "UTC",
    }
    mounts = []
    if outside.ca_bundle:
        mounts.append(Mount(source=outside.ca_bundle, target=BUNDLE))
        env |= {"SSL_CERT_FILE": BUNDLE, "PIP_CERT": BUNDLE}
    with folders(store, interpreter, sources, wheels) as found:
        previous = found.source / OUTPUT
        if previous.exists():
            previous.rename(found.results / OUTPUT)
        sandbox, root = start()
        command = (interpreter, "-s", "-B", "-m", "piptools", "compile", "--no-config", "--quiet")
        job = Job(
            rootfs=root,
            argv=(*command, *arguments, "--output-file", f"{RESULTS}/{OUTPUT}", "requirements.in"),
            env=tuple(sorted(env.items())),
            working_dir=SOURCE,
            mounts=(*found.mounts(), *mounts),
            timeout=timeout,
            network=True,
            user=USER,
        )
        try:
            outcome = sandbox.run(job)
        except TimedOut:
            raise LockError(f"pip-compile took longer than {timeout:g} s") from None
        if outcome.status:
            raise _failed(outcome.stderr + outcome.stdout, index)
        return Path(found.results, OUTPUT).read_text(encoding="utf-8")


def _opener(text: str) -> Callable[[], BytesIO]:
    return lambda: BytesIO(text.encode())


def _failed(log: bytes, index: Mapping[str, str]) -> LockError:
    text = log.decode(errors="replace")
    # The addresses of indexes may hold passwords.
    for value in index.values():
        for part in value.split():
            text = text.replace(part, "the index")
    lines = "".join(f"\n  | {line}" for line in text.rstrip().splitlines()[-_LAST_LINES:])
    if "No matching distribution" in text or "ResolutionImpossible" in text or "Could not find a version" in text:
        return UnsupportedRequirement(f"the requirements have no solution by pip-tools{lines}")
    return LockError(f"pip-compile failed{lines}")
