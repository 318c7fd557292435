"""auditwheel in a builder: what a wheel needs of the builder's libraries goes into it."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from dpbuild.adapters import build_log
from dpbuild.adapters.backend import USER
from dpbuild.adapters.backend_folders import FIXED, RESULTS, SOURCE, folders
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import SdistBuildFailed, UnsafeWheel
from dpbuild.frozen import replace
from dpbuild.model.artifact import Artifact
from dpbuild.model.base import Base
from dpbuild.model.files import ProjectFile
from dpbuild.ports.sandbox import Job, Sandbox, TimedOut
from dpbuild.pypa import rewrite
from dpbuild.pypa.wheel import WheelError
from dpbuild.stages import repair
from dpbuild.stages.repair import Origin, Taken

# What auditwheel says of a library that it does not find.
_LOST: Final = re.compile(r'required library "([^"]+)" could not be located')
# What it fails with is the line after; the whole is in the log.
_TRACE: Final = re.compile(r"^Traceback \(most recent call last\):\n(?: .*\n)*", re.MULTILINE)
_PACKAGES: Final = "leave repair out of its recipe, and name Debian packages that it needs in run.packages"
_REFUSED: Final = re.compile(r"cannot repair .* ABI because")


def repair_in(
    start: Callable[[], tuple[Sandbox, str]],
    store: DiskStore,
    interpreter: str,
    wheel: Artifact,
    tools: Sequence[Artifact],
    origins: Callable[[Sequence[Taken]], list[tuple[Taken, Origin | None]]],
    *,
    base: Base,
    env: Mapping[str, str],
    logs: Path,
    timeout: float,
) -> Artifact:
    """``wheel`` with the libraries that it needs inside, in the store. ``tools`` are auditwheel and what it needs.

    ``origins`` tells where libraries are from, ``timeout`` is in seconds. Raises SdistBuildFailed (54),
    UnsafeWheel (53), TargetError (30), SandboxError.
    """
    with store.open(wheel.digest) as file:
        before = rewrite.contents(file.read())
    title = f"{wheel.name}-{wheel.version}-repair"
    if program := repair.embedded(before):
        what = f"its program {program} has Python in it by a shared library, which no manylinux wheel may need"
        raise SdistBuildFailed(_said(wheel, what), hint=_PACKAGES)
    source = ProjectFile(path=wheel.filename, open=lambda: store.open(wheel.digest))
    variables = {**env, **FIXED}
    with folders(store, interpreter, [source], tools) as found:
        place = found.site / repair.POLICIES
        known = repair.policies(place.read_bytes() if place.is_file() else b"", base.tree)
        policy = repair.policy(known, base.facts)
        place.write_bytes(known)
        sandbox, root = start()
        job = Job(
            rootfs=root,
            argv=(
                *(interpreter, "-s", "-B", "-m", "auditwheel", "repair", "--plat", policy),
                *("--zip-compression-level", "0", "--wheel-dir", RESULTS, wheel.filename),
            ),
            env=tuple(sorted(variables.items())),
            working_dir=SOURCE,
            mounts=found.mounts(),
            timeout=timeout,
            user=USER,
            most=build_log.MOST,
        )
        try:
            outcome = sandbox.run(job)
        except TimedOut as late:
            what = f"auditwheel was stopped because it took longer than {timeout:g} s"
            raise _failed(wheel, what, late.stdout + late.stderr, logs, title, "") from None
        made = sorted(found.results.glob("*.whl"))
        log = outcome.stdout + outcome.stderr
        if outcome.status or len(made) != 1:
            raise _refused(wheel, policy, outcome.status, log, logs, title)
        filename, data = made[0].name, made[0].read_bytes()
    try:
        after = rewrite.contents(data)
        libraries = origins(repair.taken(before, after))
        filename, data = repair.finish(filename, after, libraries, tools, base.facts)
    except WheelError as problem:
        raise UnsafeWheel(f"{wheel.name} {wheel.version}: auditwheel made {filename}: {problem}") from None
    with store.writer() as writer:
        writer.write(data)
        digest, size = writer.commit()
    inside = {(row.package.name, row.package.version, row.sha256) for _, row in libraries if row and row.sha256}
    return replace(wheel, filename=filename, digest=digest, size=size, inside=tuple(sorted(inside)))


def _said(wheel: Artifact, what: str) -> str:
    return f"{wheel.name} {wheel.version} was built and cannot be repaired: {what}"


def _refused(wheel: Artifact, policy: str, status: int, log: bytes, logs: Path, title: str) -> SdistBuildFailed:
    text = log.decode(errors="replace")
    if lost := _LOST.search(text):
        return _failed(
            wheel,
            f"{lost[1]}, which it needs, is in none of the builder's folders for libraries",
            log,
            logs,
            title,
            "build.packages of its recipe takes the Debian package that has it; for another folder name it in"
            " AUDITWHEEL_LD_LIBRARY_PATH of build.environment",
        )
    if _REFUSED.search(text):
        return _failed(
            wheel,
            f"auditwheel does not repair it for {policy}",
            log,
            logs,
            title,
            _PACKAGES,
        )
    return _failed(wheel, f"auditwheel ended with status {status}", log, logs, title, "")


def _failed(wheel: Artifact, what: str, log: bytes, logs: Path, title: str, hint: str) -> SdistBuildFailed:
    where = build_log.keep(logs, title, log)
    lines = build_log.last_lines(_TRACE.sub("", log.decode(errors="replace")))
    return SdistBuildFailed(
        _said(wheel, what) + lines,
        where=where,
        hint=hint or "the whole log is in that file",
    )
