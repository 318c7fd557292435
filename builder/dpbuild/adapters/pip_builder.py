"""pip and pip-tools in a builder, with network: those that are installed with dpbuild, run by the builder's Python.

So the builder needs neither of them, nor the host an index. Nothing of what they fetch is run there.
"""

import contextlib
import importlib.metadata
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from dpbuild.adapters.backend import BUNDLE, USER, Outside
from dpbuild.adapters.backend_folders import HOME, RESULTS, SOURCE, folders
from dpbuild.adapters.pip_settings import ADDRESSES, HostIndexes, Places, Settings, hidden, settings
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import HashMismatch, LockError, UnsupportedRequirement
from dpbuild.frozen import field, frozen, replace
from dpbuild.model.target import Target
from dpbuild.oci.descriptor import Pairs
from dpbuild.ports.pip import NoSolution, Offered, Pin
from dpbuild.ports.resolver import ResolveRequest
from dpbuild.ports.sandbox import Job, Mount, Outcome, Sandbox, TimedOut
from dpbuild.pypa.metadata import Metadata

# What runs there, none of it compiled; pip-tools' own requirements that are for building are left out.
TOOLS: Final = ("build", "click", "packaging", "pip", "pip-tools", "pyproject-hooks")
_PLACE: Final = "/build/tools"
_COMPILED: Final = "/build/compiled"
_NETRC: Final = "/build/netrc"
_CERTIFICATES: Final = "ca-certificates.pem"
_LAST_LINES: Final = 10
_LOGIN: Final = re.compile(r"\b40[13] Client Error|Unauthorized|Forbidden")
_CAUSE: Final = re.compile(
    r"\[Errno -?\d+\] [A-Za-z ]+|CERTIFICATE_VERIFY_FAILED|\d{3} (?:Client|Server) Error: [A-Za-z ]+"
)


@frozen
class Builder:
    """Where pip runs. ``start`` gives the sandbox and the folder of the root, ``identity`` stands for its files;
    ``python`` is the version to the patch.

    ``image`` is the environment of a configured image, None without one; ``env`` the configuration's.
    """

    start: Callable[[], tuple[Sandbox, str]]
    identity: str
    interpreter: str
    python: str
    image: Pairs | None = None
    env: Pairs = field(default=(), shown=False)
    timeout: float = 1800.0


class BuilderPip:
    """Implements ``ports.pip.Pip``. ``host`` gives the host's indexes, which count unless the builder has its own;
    with ``offline`` nothing is asked.
    """

    def __init__(
        self,
        builder: Builder,
        store: DiskStore,
        *,
        host: Callable[[], HostIndexes],
        outside: Outside,
        directory: str,
        offline: bool = False,
    ) -> None:
        self._builder = builder
        self._store = store
        self._host = host
        self._outside = outside
        self._directory = directory
        self._offline = offline

    def compile(self, request: ResolveRequest, known: Sequence[Metadata]) -> tuple[Pin, ...]:
        """The versions that pip-compile takes. Raises NoSolution, LockError, SandboxError."""
        files = {"requirements.in": request.requirements, "constraints.txt": request.constraints}
        # pip-compile keeps the versions of the output that is there, unless they have no solution.
        files |= {"requirements.txt": request.preferences}
        job = {
            "do": "compile",
            "files": {name: "".join(f"{row}\n" for row in rows) for name, rows in files.items() if rows},
            "known": [
                {
                    "name": row.name,
                    "version": row.version,
                    "requires": row.requires,
                    "extras": row.extras,
                    "requires-python": row.requires_python,
                }
                for row in known
            ],
        }
        with self._asked(job, request, "--prefer-binary", "--only-binary=:all:") as (answer, _, log):
            if "pins" in answer:
                return tuple(_pin(line) for line in answer["pins"] if line and not line.startswith("#"))
            raise _no_solution(answer, log)

    def offered(
        self, request: ResolveRequest, pins: Sequence[Pin], target: Target
    ) -> Mapping[str, tuple[Offered, ...]]:
        """All files of these projects. Raises LockError, SandboxError."""
        rows = [[pin.name, pin.version, pin.url] for pin in pins]
        places = Places(self._directory)
        with self._asked({"do": "files", "rows": rows, "tags": target.tags}, request, places=places) as (answer, *_):
            return {
                name: tuple(
                    Offered(version=version, file=places.file(filename, url, sha256), yanked=yanked)
                    for version, filename, url, sha256, yanked in found
                )
                for name, found in answer.items()
            }

    @contextlib.contextmanager
    def fetched(self, rows: Sequence[tuple[str, str]]) -> Iterator[tuple[Path, list[tuple[str, int, str]]]]:
        """Files by name and address, in a folder, each with its status (0: no answer) and what went wrong.

        Nothing is verified. Raises LockError, SandboxError.
        """
        with self._asked({"do": "fetch", "rows": rows}, ResolveRequest(requirements=())) as (answer, folder, _):
            yield folder, [(name, status, said) for name, status, said in answer]

    @contextlib.contextmanager
    def _asked(
        self, job: dict[str, Any], request: ResolveRequest, *arguments: str, places: Places | None = None
    ) -> Iterator[tuple[Any, Path, str]]:
        """What the script answers, the folder that it writes to, and what was said."""
        if self._offline:
            raise LockError("resolving needs the package index, and this run is offline")
        tools = _tools(self._builder.python)
        places = places or Places(self._directory)
        with folders(self._store, self._builder.interpreter, (), ()) as found:
            sandbox, root = self._builder.start()
            chosen = self._settings(root, request, places)
            options = [*arguments, *(word for row in _options(request) for word in _placed(row, places))]
            text = json.dumps({**job, "pip": options})
            (found.source / "job.json").write_text(text, encoding="utf-8")
            env, mounts = self._environment(chosen, found.source)
            script = resources("dpbuild.adapters").joinpath("pip_job.py.txt").read_text()
            row = Job(
                rootfs=root,
                argv=(self._builder.interpreter, "-s", "-c", script, SOURCE, RESULTS),
                env=tuple(sorted(env.items())),
                working_dir=SOURCE,
                mounts=(*(each for each in found.mounts() if each.writable), *tools, *mounts, *places.mounts()),
                timeout=self._builder.timeout,
                network=True,
                user=USER,
            )
            secrets = [value for value in env.values() if "://" in value]
            try:
                outcome = self._run(sandbox, row)
            except TimedOut:
                raise LockError(f"pip took longer than {self._builder.timeout:g} s in the builder") from None
            log = hidden((outcome.stderr + outcome.stdout).decode(errors="replace"), secrets)
            path = found.results / "answer.json"
            if outcome.status or not path.is_file():
                raise LockError(
                    f"pip cannot be run by the builder's Python{_last(log)}", where=self._builder.interpreter
                )
            said = json.loads(path.read_text(encoding="utf-8"))
            if said["unread"]:
                raise _unread(said["unread"], own=chosen.own)
            yield said["answer"], found.results, log

    def _run(self, sandbox: Sandbox, job: Job) -> Outcome:
        """Compiling the tools takes longer than most of what they do: what the first run compiled is kept.

        For this very root alone, since it is a foreign interpreter that writes it.
        """
        versions = [importlib.metadata.version(name) for name in TOOLS]
        key = f"{self._builder.identity} {' '.join(versions)}"
        found = self._store.folder("pip", key)
        if found is not None:
            return sandbox.run(replace(job, mounts=(*job.mounts, Mount(source=found, target=_COMPILED))))
        with self._store.make_folder("pip", key) as fresh:
            return sandbox.run(replace(job, mounts=(*job.mounts, Mount(source=fresh, target=_COMPILED, writable=True))))

    def _settings(self, root: str, request: ResolveRequest, places: Places) -> Settings:
        named = self._host().sources if request.sources else ()
        if named:
            raise UnsupportedRequirement(
                f"[tool.uv.sources] says which index {', '.join(named)} comes from, and pip has no such setting",
                where="pyproject.toml",
                hint="resolve with uv: leave resolve of [tool.dpbuild.builder] and --resolver pip-tools out",
            )
        builder = self._builder

        def index() -> Pairs:
            return tuple(
                (name, " ".join(map(places.inside, value.split())) if name in ADDRESSES else value)
                for name, value in self._host().index
            )

        return settings(root, builder.interpreter, builder.image, builder.env, index)

    def _environment(self, chosen: Settings, source: Path) -> tuple[dict[str, str], list[Mount]]:
        """The whole environment, and what is mounted for it."""
        bundle, mounts = self._outside.ca_bundle, []
        more: dict[str, str] = {}
        if chosen.own and chosen.certificates is not None:
            # The builder's own authorities, and those that the host needs to get out.
            trusted = chosen.certificates + b"\n" + (Path(bundle).read_bytes() if bundle else b"")
            if trusted.strip():
                (source / _CERTIFICATES).write_bytes(trusted)
                more["PIP_CERT"] = f"{SOURCE}/{_CERTIFICATES}"
        elif bundle and not chosen.own:
            mounts.append(Mount(source=bundle, target=BUNDLE))
            more |= {"SSL_CERT_FILE": BUNDLE, "PIP_CERT": BUNDLE}
        if not chosen.own and (netrc := self._host().netrc):
            mounts.append(Mount(source=netrc, target=_NETRC))
            more["NETRC"] = _NETRC
        return {
            **dict(self._outside.env),
            **chosen.env,
            **more,
            **dict(self._builder.env),
            "HOME": HOME,
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PIP_CACHE_DIR": f"{HOME}/cache",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTHONPATH": _PLACE,
            "PYTHONPYCACHEPREFIX": _COMPILED,
            "TZ": "UTC",
        }, mounts


def _tools(python: str) -> list[Mount]:
    """The tools as they are installed with dpbuild. Raises LockError where they are not, or not for this Python."""
    mounts = []
    for name in TOOLS:
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            found = None
        rows = {row.parts[0] for row in (found.files or ()) if row.parts[0] != ".."} if found else set()
        if found is None or not rows:
            raise LockError(
                f"{name}, which resolves in the builder, is not installed with dpbuild", hint="pip install pip-tools"
            )
        wanted = found.metadata["Requires-Python"] or ""
        if not SpecifierSet(wanted).contains(python, prereleases=True):
            raise LockError(
                f"{name} {found.version}, which runs in the builder, needs Python {wanted}, and there it is {python}",
                hint=f"install another version of {name} beside dpbuild",
            )
        mounts += [Mount(source=str(found.locate_file(row)), target=f"{_PLACE}/{row}") for row in sorted(rows)]
    return mounts


def _options(request: ResolveRequest) -> list[str]:
    return [*request.options, *(f"--find-links {row}" for row in request.find_links)]


def _placed(row: str, places: Places) -> list[str]:
    """An option of a requirements file as words; a folder is named as it is in the builder."""
    option, _, value = row.partition(" ")
    if not value:
        return [option]
    return [option, places.inside(value)]


def _pin(line: str) -> Pin:
    row = Requirement(line)
    name = canonicalize_name(row.name)
    if row.url:
        return Pin(name=name, url=row.url)
    return Pin(name=name, version=next(each.version for each in row.specifier))


def _no_solution(answer: Mapping[str, Any], log: str) -> LockError | HashMismatch:
    if "DO NOT MATCH THE HASHES" in answer["said"]:
        rows = re.findall(r"(?:Expected|Got) .*", answer["said"])
        return HashMismatch(
            f"the index serves other bytes than it says itself{_last(chr(10).join(rows))}",
            hint="find out why before you lock again; nothing of it was used",
        )
    rows = [f"{wanted}{f' (wanted by {parent})' if parent else ''}" for wanted, parent in answer["causes"]]
    if not rows:
        return LockError(f"pip-compile failed{_last(answer['said'] or log)}")
    found = NoSolution(
        "the requirements have no solution by pip-tools" + "".join(f"\n  {row}" for row in sorted(set(rows)))
    )
    found.wanted = tuple(sorted({wanted for wanted, _ in answer["causes"] if _is_requirement(wanted)}))
    return found


def _is_requirement(text: str) -> bool:
    """Whether a cause is one; pip names the Python that is there among them."""
    try:
        Requirement(text)
    except InvalidRequirement:
        return False
    return not text.startswith("Python ")


def _last(log: str) -> str:
    return "".join(f"\n  | {line}" for line in log.rstrip().splitlines()[-_LAST_LINES:])


def _unread(rows: Sequence[Sequence[str]], *, own: bool) -> LockError:
    """The error for indexes that pip would go on without. Their addresses may hold passwords."""
    said = " ".join(reason for _, reason in rows)
    place = "pip.conf and the variables of its image, and env of [tool.dpbuild.builder]"
    if _LOGIN.search(said):
        hint = "give them by netrc, keyring, or UV_INDEX_<NAME>_USERNAME and UV_INDEX_<NAME>_PASSWORD"
        return LockError(
            "the package index refuses the builder's credentials, or wants some",
            hint=f"look at {place}" if own else hint,
        )
    cause = _CAUSE.search(said)
    return LockError(
        f"the package index cannot be reached from the builder{f': {cause[0].strip()}' if cause else ''}",
        hint=f"look at {place}" if own else "look at UV_DEFAULT_INDEX, UV_INDEX and the proxy settings",
    )
