"""Running a build backend: a clean copy of the source, the locked build requirements, the base's interpreter."""

import contextlib
import json
import posixpath
import re
from collections.abc import Callable, Sequence
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Final

from dpbuild.adapters import build_log
from dpbuild.adapters.backend_folders import FIXED, RESULTS, SITE, SOURCE, Folders, folders
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import SdistBuildFailed, StoreError, UnsafeWheel
from dpbuild.frozen import frozen
from dpbuild.model.artifact import Artifact
from dpbuild.model.config import Project
from dpbuild.model.facts import Facts
from dpbuild.model.recipe import Options
from dpbuild.oci.descriptor import Pairs
from dpbuild.ports.backend import Source
from dpbuild.ports.sandbox import Job, Mount, Sandbox, TimedOut
from dpbuild.pypa import rewrite
from dpbuild.pypa.wheel import WheelError, name_and_version
from dpbuild.stages import audit

# PEP 517: what a project without a build-backend key gets.
LEGACY: Final = "setuptools.build_meta:__legacy__"
# Who builds: not root, so that nothing outside of the writable folders can be written to.
USER: Final = "65532:65532"
# Debug information would be most of what is compiled, and holds paths of the builder.
_FLAGS: Final = (("CFLAGS", "-g0"), ("CXXFLAGS", "-g0"))
# Where the host's CA bundle is for what has network.
BUNDLE: Final = "/build/ca-certificates.pem"
# What resolvers and network stacks say where there is no network (gai_strerror(3), errno(3), curl, git).
_NETWORK: Final = re.compile(
    r"Temporary failure in name resolution|Name or service not known|Network is unreachable"
    r"|Could not resolve host|No address associated with hostname|failed to lookup address|NameResolutionError"
)
_FULL: Final = re.compile(r"No space left on device|\[Errno 28\]|Disk quota exceeded")
# Backends that ask git for the version. A build has no repository, and an sdist brings its version along.
_VERSION: Final = re.compile(
    r"(?:setuptools[-_]scm|vcs[-_]versioning|hatch[-_]vcs)[^\n]*unable to detect|SETUPTOOLS_SCM_PRETEND_VERSION",
    re.IGNORECASE,
)
# What Python 3.12 took away, as old sdists and old setuptools ask for it.
_GONE: Final = re.compile(r"No module named '(distutils|imp)\b|module '(pkgutil)' has no attribute 'ImpImporter'")
_ENGINES: Final = ("docker", "podman")
_READ_ONLY: Final = re.compile(r"Read-only file system: '?([^'\n]+)|Permission denied: '?(/[^'\n]+)")


@frozen
class Outside:
    """How what has network reaches it: ``env`` are the host's proxies, ``ca_bundle`` a file of the host, or ""."""

    env: Pairs = ()
    ca_bundle: str = ""


@frozen
class Environment:
    """What backends run in. ``identity`` stands for the files of the root and everything that is set here.

    ``timeout`` is in seconds, ``memory`` in bytes for each process, 0 for no limit; ``network`` lets builds out.
    ``compiler`` says that there is one. ``fetch`` are commands that run with network before a build, in its source.
    """

    identity: str
    env: Pairs = ()
    options: Options = ()
    timeout: float = 1800.0
    memory: int = 0
    network: bool = False
    compiler: bool = False
    fetch: tuple[tuple[str, ...], ...] = ()
    outside: Outside = Outside()


class SandboxBackend:
    """Implements ``ports.backend.Backend``.

    ``facts`` are those of the base, ``interpreter`` is the builder's path of the same Python. ``start`` gives the
    sandbox and the folder that its root is extracted in; ``logs`` is where the log of a build that failed is kept.
    """

    def __init__(
        self,
        facts: Facts,
        interpreter: str,
        start: Callable[[], tuple[Sandbox, str]],
        store: DiskStore,
        logs: Path,
        environment: Environment,
    ) -> None:
        self._facts = facts
        self._interpreter = interpreter
        self._start = start
        self._store = store
        self._logs = logs
        self._environment = environment

    @property
    def identity(self) -> str:
        """The root by content, and what is set in it."""
        found = self._environment
        return f"{found.identity} {found.env} {found.options} {found.network} {found.fetch}"

    def requires(self, project: Project, source: Source, wheels: Sequence[Artifact]) -> tuple[str, ...]:
        """What ``get_requires_for_build_wheel`` answers."""
        with self._folders(source, wheels) as found:
            answer = self._call("requires", project, found)
        if not isinstance(answer, list) or not all(isinstance(row, str) for row in answer):
            raise SdistBuildFailed(f"{_named(project)}: its backend answered no list of requirements")
        return tuple(sorted(set(answer)))

    def metadata(self, project: Project, source: Source, wheels: Sequence[Artifact]) -> str:
        """METADATA, computed."""
        with self._folders(source, wheels) as found:
            answer = self._call("metadata", project, found)
        if not isinstance(answer, str):
            raise SdistBuildFailed(f"{_named(project)}: its backend made no metadata")
        return answer

    def build(self, project: Project, source: Source, wheels: Sequence[Artifact]) -> Artifact:
        """The wheel, in the store: verified, written anew, and with the tag that is true."""
        with self._folders(source, wheels) as found:
            self._fetch(project, found)
            answer = self._call("build", project, found)
            path = found.results / str(answer)
            if not isinstance(answer, str) or posixpath.basename(answer) != answer or not path.is_file():
                raise SdistBuildFailed(f"{_named(project)}: its backend made no wheel ({answer!r})")
            _verify(path)
            data = path.read_bytes()
        try:
            name, version = name_and_version(answer)
            files = rewrite.contents(data)
            demands = audit.demands(answer, {key: row[0] for key, row in files.items()}, self._facts)
            filename = rewrite.retag(answer, audit.platform_tag(demands, self._facts)) if demands.native else answer
            data = rewrite.rewrite(filename, files)
        except WheelError as problem:
            raise UnsafeWheel(f"{_named(project)}: its backend made {answer}: {problem}") from None
        with self._store.writer() as writer:
            writer.write(data)
            digest, size = writer.commit()
        return Artifact(name=name, version=version, filename=filename, digest=digest, size=size, locked=False)

    def _folders(self, source: Source, wheels: Sequence[Artifact]) -> contextlib.AbstractContextManager[Folders]:
        return folders(self._store, self._interpreter, source, wheels)

    def _variables(self) -> dict[str, str]:
        return {
            **(dict(_FLAGS) if self._environment.compiler else {}),
            **dict(self._environment.env),
            **FIXED,
        }

    def _fetch(self, project: Project, found: Folders) -> None:
        """The commands that bring what an sdist lacks. Nothing of the network is left for the build itself."""
        limits = self._environment
        bundle = limits.outside.ca_bundle
        env = {**dict(limits.outside.env), **self._variables(), **({"SSL_CERT_FILE": BUNDLE} if bundle else {})}
        for command in limits.fetch:
            sandbox, root = self._start()
            what = f"ended its fetch step {' '.join(command)} with status"
            try:
                outcome = sandbox.run(
                    Job(
                        rootfs=root,
                        argv=command,
                        env=tuple(sorted(env.items())),
                        working_dir=SOURCE,
                        mounts=(*found.mounts(), *([Mount(source=bundle, target=BUNDLE)] if bundle else [])),
                        timeout=limits.timeout,
                        network=True,
                        user=USER,
                        most=build_log.MOST,
                    )
                )
            except TimedOut as late:
                log, status = late.stdout + late.stderr, f"none within {limits.timeout:g} s"
            else:
                log, status = outcome.stdout + outcome.stderr, str(outcome.status)
                if not outcome.status:
                    continue
            raise self._failed(project, sandbox, "", f"{what} {status}", log, "the step is fetch of its recipe")

    def _call(self, hook: str, project: Project, found: Folders) -> Any:
        sandbox, root = self._start()
        script = resources("dpbuild.adapters").joinpath("backend_hook.py.txt").read_text()
        name = project.build_backend or LEGACY
        limits = self._environment
        job = {
            "hook": hook,
            "backend": name,
            # The legacy backend is there for setup.py files that import what lies beside them.
            "path": list(project.backend_path) or ([""] if name == LEGACY else []),
            # PEP 517: a value is a string, or a list of strings where there are several.
            "settings": {key: row[0] if len(row) == 1 else list(row) for key, row in limits.options} or None,
            "memory": limits.memory,
        }
        try:
            outcome = sandbox.run(
                Job(
                    rootfs=root,
                    argv=(self._interpreter, "-s", "-B", "-c", script, SITE, RESULTS, SOURCE, json.dumps(job)),
                    env=tuple(sorted(self._variables().items())),
                    working_dir=SOURCE,
                    mounts=found.mounts(),
                    timeout=limits.timeout,
                    network=limits.network,
                    user=USER,
                    most=build_log.MOST,
                )
            )
        except TimedOut as late:
            what = f"was stopped because it took longer than {limits.timeout:g} s"
            hint = "give it longer: timeout of [tool.dpbuild.builder]"
            raise self._failed(project, sandbox, name, what, late.stdout + late.stderr, hint) from None
        answer = found.results / "answer.json"
        if outcome.status or not answer.is_file():
            what = f"ended with status {outcome.status}"
            raise self._failed(project, sandbox, name, what, outcome.stdout + outcome.stderr)
        return json.loads(answer.read_text())

    def _failed(
        self, project: Project, sandbox: Sandbox, backend: str, what: str, log: bytes, hint: str = ""
    ) -> SdistBuildFailed | StoreError:
        where = build_log.keep(self._logs, _named(project, "-").replace("the-project", "app"), log)
        text = log.decode(errors="replace")
        lines = build_log.last_lines(text)
        said = f"{_named(project)}: its build backend {backend} {what}" if backend else f"{_named(project)}: it {what}"
        if _FULL.search(text):
            # An engine has the files on a disk of its own until they are fetched.
            room = f" where {sandbox.name} has its data" if sandbox.name in _ENGINES else ", or use --cache-dir"
            return StoreError(f"{said}: the disk is full{lines}", where=where, hint=f"free some room{room}")
        if backend and not self._environment.network and _NETWORK.search(text):
            said += ": it wants the network, which a build does not get"
            hint = hint or (
                "what it downloads has to be there before: as a build requirement, or a package of its recipe;"
                " network = true under [tool.dpbuild.builder] lets builds out, and they are no longer repeatable"
            )
        elif backend and _VERSION.search(text):
            said += ": it asks git for the version, and a build gets no repository"
            hint = hint or (
                'say the version: env = { SETUPTOOLS_SCM_PRETEND_VERSION = "1.2.3" } under [tool.dpbuild.builder]'
            )
        elif gone := _GONE.search(text):
            said += f": it asks for {gone[1] or 'pkgutil.ImpImporter'}, which Python 3.12 and later do not have"
            hint = hint or "a newer version may know that, or have a wheel; else take a base with an older Python"
        elif outside := _READ_ONLY.search(text):
            said += f": it writes outside of its folder, to {(outside[1] or outside[2]).strip()}"
        more = (
            "what it misses can be added: packages of [tool.dpbuild.builder]"
            if self._environment.compiler
            else "try `python -m build --wheel` in the project"
        )
        return SdistBuildFailed(said + lines, where=where, hint=hint or f"the whole log is in that file; {more}")


def _verify(path: Path) -> None:
    """The backend's RECORD, by the reference implementation; our own reader looks at it again."""
    from wheel.wheelfile import WheelError as Broken
    from wheel.wheelfile import WheelFile

    try:
        with WheelFile(path) as wheel:
            for name in wheel.namelist():
                wheel.read(name)
    except (Broken, ValueError, OSError) as problem:
        raise UnsafeWheel(f"{path.name}: {problem}", hint="the build backend made a broken wheel") from None


def _named(project: Project, joint: str = " ") -> str:
    return joint.join(part for part in (project.name, project.version) if part) or joint.join(("the", "project"))
