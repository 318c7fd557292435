"""The app: built as a wheel, copied, or none; and the files that go beside it. One layer of its own."""

import hashlib
import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from dpbuild.archive.deflate import Splicer
from dpbuild.errors import ConfigError
from dpbuild.frozen import frozen
from dpbuild.model.artifact import Artifact
from dpbuild.model.config import Config
from dpbuild.model.evidence import Chosen
from dpbuild.model.files import Committed, ProjectFile
from dpbuild.model.layer import Layer
from dpbuild.oci.codec import canonical
from dpbuild.ports.project import ProjectFolder
from dpbuild.ports.store import Store
from dpbuild.stages.app_files import copied, mains, placed
from dpbuild.stages.contents import Contents
from dpbuild.stages.home import Home
from dpbuild.stages.image import APP, BUNDLE, find_starter, unknown_script
from dpbuild.stages.layers.bytecode import compile_planned
from dpbuild.stages.layers.kept import find
from dpbuild.stages.layers.own import make_own, own_key, planned_data
from dpbuild.stages.layers.site import Site
from dpbuild.stages.layers.wheels import Planned, complete, open_wheel, plan

if TYPE_CHECKING:
    from dpbuild.pypa.wheel import Wheel

Kind = Literal["wheel", "copy", "none"]


@frozen
class App:
    """What the app consists of. ``artifact`` is its wheel; ``files`` are those that are copied; ``beside`` those
    of the configuration's ``files`` and their places; ``certificates`` the contents of ``ca-certificates``.

    ``sources`` are the project's files that it was made from; a wheel's also from ``build_wheels``, by the lock whose
    text is ``build_lock``. ``others`` are the paths in the project of what is in the image besides them.
    """

    kind: Kind
    artifact: Artifact | None = None
    files: tuple[ProjectFile, ...] = ()
    beside: tuple[Planned, ...] = ()
    certificates: tuple[bytes, ...] = ()
    sources: tuple[ProjectFile, ...] = ()
    others: tuple[str, ...] = ()
    build_wheels: Chosen = ()
    build_lock: str = ""

    @property
    def layers(self) -> int:
        """How many layers it makes."""
        return 1 if self.artifact or self.files or self.beside or self.certificates else 0


def kind_of(config: Config, files: Sequence[ProjectFile]) -> Kind:
    """What ``app`` means here: ``auto`` is a wheel with ``[build-system]``, else a copy if there is any module."""
    if config.app != "auto":
        return config.app
    if config.project.has_build_system:
        return "wheel"
    return "copy" if any(file.path.endswith(".py") for file in files) else "none"


def decide(project: ProjectFolder, config: Config) -> Kind:
    """What the app is. What it starts with is looked at before anything is locked or fetched, where that can be.

    Raises ConfigError (10).
    """
    looked = not config.project.has_build_system and config.app in ("auto", "copy")
    files = project.app_files(config.include, config.exclude) if looked else ()
    kind = kind_of(config, files)
    bare = kind == "none" and config.app == "auto" and config.requirements.kind == "none"
    if bare and all(project.read(name) is None for name in ("pyproject.toml", "dpbuild.toml")):
        # A folder that was mistyped would become an image of the base's Python alone.
        raise ConfigError(
            "there is no project here: no pyproject.toml, no dpbuild.toml, no requirements and no .py file",
            where=config.directory,
            hint='name the project\'s folder; an image without an app has app = "none" in a dpbuild.toml',
        )
    if kind == "copy":
        copied(files)
    if kind != "wheel" and not config.entrypoint and not config.script:
        packages, scripts = mains(files if kind == "copy" else ())
        find_starter(config, app=kind, mains=packages, files=scripts)
    own = set(dict(config.project.scripts))
    found = config.requirements
    # Of what is locked elsewhere, or built, nobody knows the scripts yet.
    alone = kind != "wheel" and found.kind in ("none", "project", "requirements") and not found.lines
    if config.script and config.script not in own and alone:
        raise unknown_script(config, own)
    return kind


def collect(project: ProjectFolder, config: Config, artifact: Artifact | None, kind: Kind) -> App:
    """Everything that goes into the app's layer, read from the project. Raises ConfigError."""
    files: tuple[ProjectFile, ...] = ()
    if kind == "copy":
        files = project.app_files(config.include, config.exclude)
        if not files:
            raise ConfigError("there is nothing to copy: all files are left out", where=config.directory)
    beside: list[Planned] = []
    others: list[str] = []
    for row in config.files:
        found = project.named((row.source,))
        beside += placed(found, row)
        others += [file.path for file in found]
    certificates = []
    for name in config.ca_certificates:
        text = project.read(name)
        if text is None or "-----BEGIN CERTIFICATE-----" not in text:
            raise ConfigError(
                f"ca-certificates: {name} {'does not exist' if text is None else 'holds no PEM certificate'}",
                where=config.directory,
            )
        certificates.append(text.encode())
    return App(
        kind=kind,
        artifact=artifact,
        files=files,
        beside=tuple(beside),
        certificates=tuple(certificates),
        sources=files,
        others=(*others, *(posixpath.normpath(name) for name in config.ca_certificates)),
    )


def starters(app: App, store: Store) -> tuple[frozenset[str], list[str], list[str]]:
    """The names of its scripts, its packages with ``__main__``, and its scripts at the top (copied apps only)."""
    if app.artifact is None:
        packages, top = mains(app.files)
        return frozenset(), packages, top
    from dpbuild.pypa.scripts import entry_points

    wheel = _wheel(app.artifact, store)
    names = {point.name for point in entry_points(wheel.entry_points)}
    names |= {row.path for row in wheel.files if row.scheme == "scripts"}
    packages = sorted(
        row.path.split("/")[0]
        for row in wheel.files
        if row.scheme in ("purelib", "platlib") and row.path.count("/") == 1 and row.path.endswith("/__main__.py")
    )
    return frozenset(names), packages, []


def _wheel(artifact: Artifact, store: Store) -> "Wheel":
    splicer = Splicer()
    try:
        with store.open(artifact.digest) as file:
            return open_wheel(artifact, file, splicer).wheel
    finally:
        splicer.close()


def make_layer(
    app: App, site: Site, store: Store, base: Contents, epoch: int, home: Home | None = None
) -> tuple[Layer, ...]:
    """The app's layer, its files with the time ``epoch``, and the home folder that everybody may write to; none where
    there is nothing in it.
    """
    if not app.layers:
        return ()
    planned: list[Planned] = [*copied(app.files), *app.beside]
    if app.certificates:
        planned.append(_bundle(app, site, base))
    comment = "the app"
    wheel = None if app.artifact is None else [app.artifact.filename, app.artifact.digest.hex]
    changed = (home.folder,) if home is not None and home.folder is not None else ()
    key = own_key(site, planned, epoch, ["app", wheel, *([each.path, each.mode] for each in changed)])
    layer = find(store, key, comment)
    if layer is not None:
        return (layer,)
    splicer = Splicer()
    try:
        compiled = compile_planned(site, planned, splicer, checked=True, root=APP)
        planned += [planned_data(path, data, "the app's bytecode") for path, data in compiled]
        if app.artifact is None:
            return (make_own(site, store, planned, comment, key=key, mtime=epoch, changed=changed),)
        with store.open(app.artifact.digest) as file:
            opened = open_wheel(app.artifact, file, splicer)
            rows = plan(opened, site.facts, splicer)
            compiled = compile_planned(site, rows, splicer, checked=True)
            planned += complete(rows, compiled, opened.wheel.dist_info, site.facts)
            return (make_own(site, store, planned, comment, key=key, mtime=epoch, changed=changed),)
    finally:
        splicer.close()


def _bundle(app: App, site: Site, base: Contents) -> Planned:
    """The base's CA certificates and the project's in one file; the base's own stays as it is."""
    where = site.base.config.variable("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    found = base.get(where.lstrip("/")) or b""
    parts = [part.rstrip(b"\n") + b"\n" for part in (found, *app.certificates) if part]
    return planned_data(BUNDLE, b"".join(parts), "ca-certificates")


def committed(project: ProjectFolder, app: App, store: Store) -> Committed:
    """What version control says of everything that is in the app's layer."""
    files = [*(file.path for file in app.sources), *app.others]
    if app.artifact is None:
        return project.committed(files)
    # A build backend sees more than it packs, such as what was left of another build.
    packed = {row.digest.hex() for row in _wheel(app.artifact, store).files if row.algorithm == "sha256"}
    return project.committed(files, {file.path: file.sha256 for file in app.sources}, packed)


def file_time(found: Committed, epoch: int | None) -> tuple[int, tuple[str, ...]]:
    """The time of the app's files, in seconds, and what there is to say of it: what was said, else that of the commit,
    else 0.
    """
    if epoch is not None:
        return epoch, ()
    if found.time is not None:
        return found.time, ()
    dated = "the app's files are dated 1970-01-01"
    if not found.reason:
        return 0, (f"{dated}: set SOURCE_DATE_EPOCH, or build a clean git checkout",)
    return 0, (f"{dated}, because {found.reason}; SOURCE_DATE_EPOCH says another time",)


def files_key(files: Sequence[ProjectFile]) -> str:
    """A hash over paths, modes and contents."""
    rows = [[file.path, file.executable, file.target, file.sha256] for file in files]
    return hashlib.sha256(canonical(rows)).hexdigest()
