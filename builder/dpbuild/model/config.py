"""The configuration of one build, after defaults, files, environment and flags were laid over each other."""

from typing import Literal

from dpbuild.frozen import frozen
from dpbuild.model.recipe import Recipe
from dpbuild.oci.config import Healthcheck
from dpbuild.oci.descriptor import Pairs
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference, RegistryReference

DEFAULT_BASE = "gcr.io/distroless/python3-debian13:nonroot"


@frozen
class FileCopy:
    """One row of ``files``: a path in the project to an absolute path in the image."""

    source: str
    target: str


@frozen
class Requirements:
    """Where requirements come from, and what they say.

    ``origin`` is the name of the file that won; ``lines`` are PEP 508 requirements in their canonical form,
    sorted (for ``uv-lock`` and ``pylock`` they are empty, the file itself is the answer and ``content`` its
    sha256). ``hashes`` are the sha256 values that a hashed file allows, by normalised name; ``options`` the
    index options of requirements files, as written; ``settings`` is the sha256 of ``[tool.uv]``, or "". ``outdated``
    says in words where a ``uv.lock`` is not that of the project any more, or where a ``pylock.toml`` may not be, or "".
    """

    kind: Literal["project", "requirements", "hashed", "pylock", "uv-lock", "none"]
    origin: str = ""
    lines: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    content: str = ""
    hashes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    options: tuple[str, ...] = ()
    settings: str = ""
    outdated: str = ""


@frozen
class Project:
    """What ``pyproject.toml`` says of the project itself. ``name`` is normalised; "" where there is none.

    ``source`` is the address of the project's sources in ``[project.urls]``, without credentials.
    """

    name: str = ""
    version: str = ""
    requires_python: str = ""
    scripts: Pairs = ()
    build_requires: tuple[str, ...] = ()
    build_backend: str = ""
    backend_path: tuple[str, ...] = ()
    has_build_system: bool = False
    source: str = ""


@frozen
class BuilderConfig:
    """``[tool.dpbuild.builder]``: ``timeout`` in seconds, ``memory`` in bytes for each process, 0 for no limit.

    ``repair`` holds for every wheel whose recipe says nothing of it.
    """

    image: str = ""
    packages: tuple[str, ...] = ()
    resolve: bool = False
    network: bool = False
    repair: bool = False
    env: Pairs = ()
    timeout: int = 1800
    memory: int = 0


@frozen
class Config:
    """Everything a build is told. Paths are as written, relative to ``directory``, which is absolute.

    ``recipes`` are those of ``[tool.dpbuild.recipes]``, laid over the shipped ones; ``base_key`` is the text of the
    public key's file.
    """

    directory: str
    base: Reference
    platforms: tuple[Platform, ...] = ()
    tags: tuple[RegistryReference, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    script: str = ""
    cmd: tuple[str, ...] = ()
    env: Pairs = ()
    labels: Pairs = ()
    annotations: Pairs = ()
    user: str = ""
    workdir: str = ""
    expose: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    app: Literal["auto", "wheel", "copy", "none"] = "auto"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    files: tuple[FileCopy, ...] = ()
    ca_certificates: tuple[str, ...] = ()
    bytecode: bool = True
    compression: Literal["gzip", "zstd"] = "gzip"
    find_links: tuple[str, ...] = ()
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    check_select: tuple[str, ...] = ()
    check_ignore: tuple[str, ...] = ()
    runtime_packages: tuple[str, ...] = ()
    recipes: tuple[Recipe, ...] = ()
    builder: BuilderConfig = BuilderConfig()
    debian_mirror: str = ""
    debian_security_mirror: str = ""
    debian_snapshot: str = ""
    evidence: bool = True
    base_key: str = ""
    project: Project = Project()
    requirements: Requirements = Requirements(kind="none")
