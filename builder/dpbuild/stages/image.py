"""The image stage: base and layers in, manifest and config out. Pure."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from dpbuild.errors import ConfigError
from dpbuild.frozen import replace
from dpbuild.model.base import Base
from dpbuild.model.config import Config
from dpbuild.model.image import Image, Images
from dpbuild.model.layer import Layer
from dpbuild.oci import mediatype
from dpbuild.oci.codec import encode_config, encode_index, encode_manifest
from dpbuild.oci.config import History
from dpbuild.oci.descriptor import Descriptor, Pairs
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Index, Manifest
from dpbuild.oci.reference import RegistryReference

# OCI image spec, annotations.md.
BASE_NAME: Final = "org.opencontainers.image.base.name"
BASE_DIGEST: Final = "org.opencontainers.image.base.digest"
SOURCE: Final = "org.opencontainers.image.source"
CREATED: Final = "org.opencontainers.image.created"
# Where a copied app lives.
APP: Final = "/app"
# CA certificates of base and project, where the configuration adds some.
BUNDLE: Final = "/usr/local/share/dpbuild/ca-certificates.crt"
# What a console script does, for an app that is copied and so has none installed.
_CALL: Final = "import sys; from {module} import {first}; sys.exit({attribute}())"


def timestamp(epoch: int) -> str:
    """RFC 3339, as the image spec wants it."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def make_image(
    config: Config,
    base: Base,
    layers: Sequence[Layer],
    *,
    app: str,
    entrypoint: tuple[str, ...],
    epoch: int,
    bundle: bool = False,
    variables: Pairs = (),
) -> Image:
    """One platform's image. ``app`` is ``wheel``, ``copy`` or ``none``; ``epoch`` is in seconds; ``bundle`` says
    that the app's layer has CA certificates; ``variables`` are more of the environment.
    """
    created = timestamp(epoch)
    old = base.config
    workdir = config.workdir or (APP if app == "copy" else old.working_dir)
    fixed: Pairs = (*variables, ("PYTHONNOUSERSITE", "1"))
    if app == "wheel":
        fixed += (("PYTHONSAFEPATH", "1"),)
    if bundle:
        fixed += (("SSL_CERT_FILE", BUNDLE), ("REQUESTS_CA_BUNDLE", BUNDLE))
    new = replace(
        old,
        created=created,
        author="",
        diff_ids=(*old.diff_ids, *(layer.diff_id for layer in layers)),
        history=(
            *old.history,
            *(History(created=created, created_by="dpbuild", comment=layer.comment) for layer in layers),
        ),
        user=config.user or old.user,
        env=_environment(old.env, (*fixed, *config.env)),
        entrypoint=entrypoint,
        cmd=config.cmd,
        working_dir=workdir,
        exposed_ports=tuple(sorted({*old.exposed_ports, *(_port(each) for each in config.expose)})),
        volumes=tuple(sorted({*old.volumes, *config.volumes})),
        labels=tuple(sorted({**dict(old.labels), **dict(config.labels)}.items())),
        stop_signal=config.stop_signal or old.stop_signal,
        healthcheck=config.healthcheck or old.healthcheck,
    )
    config_bytes = encode_config(new)
    name = str(replace(base.reference, digest=None)) if isinstance(base.reference, RegistryReference) else ""
    annotations = {BASE_DIGEST: str(base.descriptor.digest), CREATED: created, **dict(config.annotations)}
    if name:
        annotations[BASE_NAME] = name
    if config.project.source:
        annotations.setdefault(SOURCE, config.project.source)
    manifest = Manifest(
        media_type=mediatype.OCI_MANIFEST,
        config=Descriptor(media_type=mediatype.OCI_CONFIG, digest=Digest.of(config_bytes), size=len(config_bytes)),
        layers=(
            *(replace(row, media_type=mediatype.as_oci(row.media_type)) for row in base.manifest.layers),
            *(layer.descriptor for layer in layers),
        ),
        annotations=tuple(sorted(annotations.items())),
    )
    manifest_bytes = encode_manifest(manifest)
    return Image(
        platform=base.platform,
        descriptor=Descriptor(
            media_type=manifest.media_type,
            digest=Digest.of(manifest_bytes),
            size=len(manifest_bytes),
            platform=base.platform,
        ),
        manifest=manifest,
        manifest_bytes=manifest_bytes,
        config_bytes=config_bytes,
        base=base.reference,
        base_layers=len(base.manifest.layers),
    )


def combine(images: Sequence[Image], bases: Collection[Digest] = ()) -> Images:
    """One image as it is; several under an index, in the order of their platforms' names.

    The index has the annotations that are the same for all of them (OCI image spec, annotations.md), and as the base's
    digest what the base's reference named, if ``bases`` is that one digest.
    """
    if len(images) == 1:
        return Images(descriptor=images[0].descriptor, images=(images[0],))
    ordered = tuple(sorted(images, key=lambda image: str(image.platform)))
    shared = set.intersection(*(set(image.manifest.annotations) for image in ordered))
    annotations = {key: value for key, value in shared if key != BASE_DIGEST}
    if len(bases) == 1:
        annotations[BASE_DIGEST] = str(next(iter(bases)))
    index = Index(
        media_type=mediatype.OCI_INDEX,
        manifests=tuple(image.descriptor for image in ordered),
        annotations=tuple(sorted(annotations.items())),
    )
    data = encode_index(index)
    descriptor = Descriptor(media_type=index.media_type, digest=Digest.of(data), size=len(data))
    return Images(descriptor=descriptor, images=ordered, index_bytes=data)


def _environment(base: Sequence[str], added: Pairs) -> tuple[str, ...]:
    """The base's variables in their order, ours laid over them, new ones at the end."""
    rows = dict(row.partition("=")[::2] for row in base)
    rows.update(added)
    return tuple(f"{key}={value}" for key, value in rows.items())


def _port(text: str) -> str:
    return text if "/" in text else f"{text}/tcp"


def choose_entrypoint(
    config: Config,
    base: Base,
    *,
    app: str,
    scripts: frozenset[str],
    mains: Sequence[str],
    files: Sequence[str],
) -> tuple[str, ...]:
    """What the container starts, the interpreter's absolute path first unless a program is named.

    ``scripts`` are the names of all scripts that the wheels install; ``mains`` the app's packages with a
    ``__main__``; ``files`` the scripts at the top of a copied app. Raises ConfigError (10).
    """
    python = base.facts.interpreter
    if config.entrypoint:
        return config.entrypoint if config.entrypoint[0].startswith("/") else (python, *config.entrypoint)
    own = dict(config.project.scripts)
    if config.script:
        if config.script in scripts:
            return (python, f"{base.facts.scripts}/{config.script}")
        if app == "copy" and config.script in own:
            return _call(python, own[config.script])
        raise unknown_script(config, scripts | own.keys())
    kind, name = find_starter(config, app=app, mains=mains, files=files)
    if kind == "script":
        return (python, f"{base.facts.scripts}/{name}") if app == "wheel" else _call(python, own[name])
    if kind == "package":
        return (python, "-m", name)
    return (python, f"{APP}/{name}") if kind == "file" else (python,)


Starter = Literal["script", "package", "file", "none"]


def starters(
    scripts: Sequence[str], mains: Sequence[str], files: Sequence[str]
) -> tuple[Starter, str, tuple[str, ...]]:
    """What a project could start where nothing is configured: the first of these that has any, in words too."""
    levels: tuple[tuple[Starter, str, Sequence[str]], ...] = (
        ("script", "[project.scripts] entries", scripts),
        ("package", "packages with __main__", mains),
        ("file", "scripts", files),
    )
    return next(((kind, words, tuple(found)) for kind, words, found in levels if found), ("none", "", ()))


def unknown_script(config: Config, known: frozenset[str] | set[str]) -> ConfigError:
    """The error for a ``script`` that nothing installs; ``known`` are those that there are."""
    return ConfigError(
        f"script = {config.script!r}: no wheel and no [project.scripts] entry has a script of this name",
        hint=_near(config.script, known),
    )


def find_starter(config: Config, *, app: str, mains: Sequence[str], files: Sequence[str]) -> tuple[Starter, str]:
    """What the project has to start where the configuration names nothing. Raises ConfigError (10)."""
    kind, words, found = starters(sorted(dict(config.project.scripts)), mains, files)
    if len(found) > 1:
        raise ConfigError(
            f"there are several {words} to start: {', '.join(found)}",
            where=config.directory,
            hint='say which in [tool.dpbuild]: script = "…" or entrypoint = ["-m", "…"]',
        )
    if found:
        return kind, found[0]
    if app == "none":
        return "none", ""
    raise ConfigError(
        "there is nothing to start: no [project.scripts] entry, no package with __main__, no script at the top",
        where=config.directory,
        hint='say it in [tool.dpbuild]: entrypoint = ["-m", "…"]',
    )


def check_starter(config: Config) -> None:
    """Refuse several scripts before anything is locked or built. Raises ConfigError (10)."""
    if not config.entrypoint and not config.script and len(config.project.scripts) > 1:
        find_starter(config, app="auto", mains=(), files=())


def _call(python: str, reference: str) -> tuple[str, ...]:
    module, _, attribute = reference.partition("[")[0].strip().partition(":")
    module, attribute = module.strip(), attribute.strip()
    first = attribute.partition(".")[0]
    return (python, "-c", _CALL.format(module=module, first=first, attribute=attribute))


def _near(name: str, known: frozenset[str] | set[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, sorted(known), n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(sorted(known))}" if known else "nothing installs a script"
