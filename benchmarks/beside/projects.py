"""The projects that are built: real wheels from the configured package index, and wheels made up from their files."""

import base64
import hashlib
import os
import re
import shutil
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from beside.machine import Clock, Failed, run
from beside.services import Index
from beside.sides import DPBUILD

PACKAGES = (
    "numpy", "pandas", "scipy", "scikit-learn", "pyarrow", "lxml", "pillow", "fastapi", "sqlalchemy", "uvicorn",
    "cryptography", "pydantic", "httpx", "requests", "jinja2", "orjson", "pyyaml", "click",
)  # fmt: skip
CHANGED = ("orjson", "orjson<3.11")
SECOND = (("pyyaml", "click"), ("rich", "attrs"))
QUICK = ("markupsafe", "pyyaml", "jinja2", "click", "idna", "attrs")
QUICK_CHANGED = ("click", "click<8.2")
QUICK_SECOND = (("attrs",), ("certifi",))
_MAIN = "import importlib.metadata\n\nprint(len(list(importlib.metadata.distributions())), {mark!r})\n"
_TABLE = "[tool.dpbuild]\n"


class Project:
    """A folder that both sides build: ``pyproject.toml`` and lock for one, ``requirements.txt`` for the other."""

    def __init__(self, folder: Path, *, site: str) -> None:
        self.folder = folder
        self.site = site

    @property
    def name(self) -> str:
        return self.folder.name

    def edit(self, mark: str) -> None:
        """Change a line of the app."""
        (self.folder / "app" / "main.py").write_text(_MAIN.format(mark=mark))

    def touch(self, mark: str) -> None:
        """Make requirements.txt another file to the Dockerfile, whose steps it then repeats."""
        path = self.folder / "requirements.txt"
        path.write_text(re.sub(r"# run .*\n", "", path.read_text()) + f"# run {mark}\n")

    def configure(self, **keys: object) -> None:
        """Change keys of the configuration."""
        path = self.folder / "pyproject.toml"
        text = path.read_text()
        for key, value in keys.items():
            text = re.sub(rf"(?m)^{key} = .*\n", "", text)
            said = str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
            text = text.replace(_TABLE, f"{_TABLE}{key} = {said}\n")
        path.write_text(text)

    def save(self) -> dict[str, str]:
        """Everything that says what is needed."""
        names = ("pyproject.toml", "pylock.dpbuild.toml", "requirements.txt")
        return {name: (self.folder / name).read_text() for name in names}

    def put(self, saved: dict[str, str]) -> None:
        for name, text in saved.items():
            (self.folder / name).write_text(text)


class Maker:
    """Makes and locks projects. ``env`` is what dpbuild is run with, against the benchmark's own index."""

    def __init__(self, tmp: Path, env: dict[str, str], clock: Clock, dockerfile: str) -> None:
        self._tmp = tmp
        self._env = env
        self._clock = clock
        self._dockerfile = dockerfile

    def make(self, name: str, packages: tuple[str, ...], base: str, **keys: object) -> Project:
        """Raises Failed, OutOfTime."""
        folder = self._tmp / "projects" / name
        (folder / "app").mkdir(parents=True)
        self.write(folder, name, packages, base)
        project = Project(folder, site="")
        project.configure(**keys)
        project.edit("first")
        (folder / "Dockerfile").write_text(self._dockerfile)
        self.lock(project)
        locked = tomllib.loads((folder / "pylock.dpbuild.toml").read_text())
        project.site = str(locked["tool"]["dpbuild"]["base"]["platforms"][0]["facts"]["purelib"])
        return project

    def write(self, folder: Path, name: str, packages: tuple[str, ...], base: str) -> None:
        """The project's metadata and the plainest configuration."""
        rows = ", ".join(f'"{row}"' for row in packages)
        (folder / "pyproject.toml").write_text(
            f'[project]\nname = "{name}"\nversion = "1"\ndependencies = [{rows}]\n{_TABLE}'
            f'base = "{base}"\nplatforms = ["linux/amd64"]\nbytecode = false\napp = "none"\n'
            'files = [{from = "app", to = "/app"}]\nworkdir = "/app"\nentrypoint = ["main.py"]\n'
        )

    def lock(self, project: Project, *words: str, env: dict[str, str] | None = None) -> None:
        """Lock it for dpbuild, and write the same for the Dockerfile, with hashes. Raises Failed, OutOfTime."""
        words = ("lock", str(project.folder), "-q", *words)
        run([*DPBUILD, *words], self._clock, env=env or self._env, what=f"dpbuild lock of {project.name}")
        locked = tomllib.loads((project.folder / "pylock.dpbuild.toml").read_text())
        rows = []
        for row in locked["packages"]:
            hashes = " ".join(f"--hash=sha256:{wheel['hashes']['sha256']}" for wheel in row["wheels"])
            rows.append(f"{row['name']}=={row['version']} {hashes}\n")
        (project.folder / "requirements.txt").write_text("".join(rows))


def gather(
    tmp: Path,
    sets: dict[str, tuple[str, ...]],
    base: str,
    index: Index,
    clock: Clock,
    note: Callable[[str], None],
    links: tuple[str, ...] = (),
) -> dict[str, tuple[str, ...]]:
    """Lock the sets at the package index that is configured, and put their wheels into ``index``; the sets that
    worked, without packages that have no wheel for this base. ``links`` are folders with more wheels.
    """
    env = {**os.environ, "DPBUILD_CACHE_DIR": str(tmp / "gathered")}
    done: dict[str, tuple[str, ...]] = {}
    bad: set[str] = set()
    for name, packages in sets.items():
        wanted = tuple(row for row in packages if row not in bad)
        try:
            try:
                _fetch(tmp / "gather" / name, wanted, base, env, clock, index, links)
            except Failed:
                if done or len(wanted) == 1:
                    raise
                # One of them may be what fails; the others are still worth measuring.
                fine = []
                for row in wanted:
                    try:
                        _fetch(tmp / "gather" / f"{name}-{len(fine)}-{row}", (row,), base, env, clock, index, links)
                        fine.append(row)
                    except Failed as problem:
                        bad.add(row)
                        note(f"{row} is left out: {problem}")
                if not fine:
                    raise
                wanted = tuple(fine)
                _fetch(tmp / "gather" / f"{name}-rest", wanted, base, env, clock, index, links)
            done[name] = wanted
        except Failed as problem:
            note(f"the packages of {name!r} cannot be had: {problem}")
    return done


def _fetch(
    folder: Path,
    packages: tuple[str, ...],
    base: str,
    env: dict[str, str],
    clock: Clock,
    index: Index,
    links: tuple[str, ...],
) -> None:
    """dpbuild itself downloads them, from wherever and with whatever logins it is configured for."""
    folder.mkdir(parents=True)
    rows = ", ".join(f'"{row}"' for row in packages)
    found = ", ".join(f'"{row}"' for row in links)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "gather"\nversion = "1"\ndependencies = [{rows}]\n{_TABLE}base = "{base}"\n'
        'platforms = ["linux/amd64"]\nbytecode = false\nevidence = false\napp = "none"\n'
        f"find-links = [{found}]\n"
        '[tool.dpbuild.check]\nignore = ["ALL"]\n'
    )
    words = [*DPBUILD, "build", folder, "-q", "-o", folder / "image"]
    run(words, clock, env=env, what=f"downloading {', '.join(packages[:3])} …")
    for row in tomllib.loads((folder / "pylock.dpbuild.toml").read_text())["packages"]:
        for wheel in row.get("wheels", ()):
            blob = Path(env["DPBUILD_CACHE_DIR"], "blobs", "sha256", wheel["hashes"]["sha256"])
            name = wheel.get("name") or str(wheel.get("url") or wheel["path"]).rpartition("/")[2]
            if blob.exists():
                shutil.copyfile(blob, index.wheels / name.replace("%2B", "+"))
    shutil.rmtree(folder / "image")


def _files(wheels: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    for path in sorted(wheels.glob("*.whl")):
        if not path.name.startswith(("big_wheel", "part_")):
            with zipfile.ZipFile(path) as source:
                for row in sorted(source.infolist(), key=lambda each: each.filename):
                    if wanted(row.filename):
                        yield f"{'_'.join(path.name.split('-')[:2])}/{row.filename}", source.read(row)


class _Wheel:
    """A wheel that is being made up."""

    def __init__(self, folder: Path, name: str) -> None:
        self._info = f"{name}-1.0.dist-info"
        self._name = name
        self._zip = zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED)
        self._record: list[str] = []
        self.size = 0

    def put(self, path: str, data: bytes) -> None:
        self._zip.writestr(path, data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        self._record.append(f'"{path}",sha256={digest},{len(data)}\n')
        self.size += len(data)

    def close(self) -> None:
        project = self._name.replace("_", "-")
        self.put(f"{self._info}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n".encode())
        tags = "Wheel-Version: 1.0\nGenerator: benchmark\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        self.put(f"{self._info}/WHEEL", tags.encode())
        self._zip.writestr(f"{self._info}/RECORD", "".join([*self._record, f"{self._info}/RECORD,,\n"]))
        self._zip.close()


def big_wheel(wheels: Path, size: int) -> str:
    """One wheel of the libraries and sources of all others, until it has so many bytes unpacked; copies of a file
    differ in their last bytes, so that nothing is found twice.
    """
    made = _Wheel(wheels, "big_wheel")
    for copy in range(40):
        for path, data in _files(wheels, lambda name: name.endswith(".py") or ".so" in name.rpartition("/")[2]):
            if made.size < size:
                made.put(f"big_wheel/copy{copy}/{path}", data + (f"\n# {copy}\n".encode() if copy else b""))
        if made.size >= size:
            break
    made.close()
    return "big-wheel"


def pure_wheels(wheels: Path, count: int) -> tuple[str, ...]:
    """So many wheels of real sources, some dozen files each."""
    sources = [(path, data) for path, data in _files(wheels, lambda name: name.endswith(".py")) if len(data) < 60_000]
    each = max(1, min(40, len(sources) // count))
    names = []
    for number in range(count):
        made = _Wheel(wheels, f"part_{number:03}")
        made.put(f"part_{number:03}/__init__.py", b"")
        for path, data in sources[number * each : number * each + each]:
            made.put(f"part_{number:03}/{path}", data)
        made.close()
        names.append(f"part-{number:03}")
    return tuple(names)


def torch_wheel(folders: list[Path], minors: dict[str, str]) -> tuple[Path, str] | None:
    """A wheel of torch for one of the bases' Pythons, and that base; ``minors`` maps cp313 and the like to bases."""
    for folder in folders:
        for path in sorted(folder.glob("torch-*_x86_64.whl")):
            tag = path.name.split("-")[2]
            if tag in minors and not re.search(r"\+(cu|rocm)", path.name):
                return path, minors[tag]
    return None
