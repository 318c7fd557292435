"""``dpbuild run --import-all``: the proof by trying, beside the one from the files."""

import json
from importlib.resources import files
from typing import Any, Final

from dpbuild.checking import open_subject
from dpbuild.errors import BaseImageError, SandboxError
from dpbuild.frozen import frozen
from dpbuild.model.words import counted
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference
from dpbuild.ports.sandbox import Job, Sandbox
from dpbuild.ports.world import World
from dpbuild.stages.base import fetch_layers
from dpbuild.stages.open_image import OpenImage, open_image
from dpbuild.stages.proof.modules import top_level

_AT_ONCE: Final = 4
_SECONDS: Final = 120


@frozen
class Imported:
    """How one import went; ``problem`` is "" where it worked, else the last line of what Python said."""

    module: str
    distribution: str
    problem: str = ""
    output: str = ""


def import_all(reference: Reference, platform: Platform, kind: str, world: World) -> tuple[Imported, ...]:
    """Import every top-level module of every distribution that is on ``sys.path``, one process each.

    ``kind`` is ``auto``, ``docker``, ``podman``, ``bubblewrap`` or ``none``. Raises BaseImageError, SandboxError.
    """
    store = world.store
    source = world.source(reference, (platform,))
    image = open_image(reference, source, platform, store)
    layers = image.manifest.layers
    fetch_layers(source, layers, store, world.reporter)
    subject = open_subject(
        layers,
        image.config,
        platform,
        store,
        lambda row: None,
        annotations=image.manifest.annotations,
        take_inventory=False,
    )
    if subject.facts is None:
        raise BaseImageError(subject.trouble, where=str(reference))
    there = {subject.real(path) for path in subject.sys_path}
    owners: dict[str, str] = {}
    found = [row for row in subject.distributions if subject.real(row.site) in there]
    for row in found:
        for module in top_level(row.site, subject.files_of(str(row)), subject.facts):
            owners.setdefault(module, str(row))
    if not owners:
        return ()
    rootfs = world.unpacked(layers, lambda descriptor: store.open(descriptor.digest))
    sandbox = world.sandbox(kind)
    with world.reporter.step(f"importing in {sandbox.name}") as step:
        rows = _run(sandbox, rootfs, subject.start.executable or subject.facts.interpreter, image, tuple(owners))
        step.done(f"{counted(len(rows), 'module')} of {counted(len(found), 'distribution')}")
    imported = (
        Imported(module=name, distribution=owners[name], problem=_problem(status, output), output=output)
        for name, status, output in rows
    )
    return tuple(sorted(imported, key=lambda row: (row.distribution, row.module)))


def _run(
    sandbox: Sandbox, rootfs: str, interpreter: str, image: OpenImage, modules: tuple[str, ...]
) -> list[tuple[str, int | str, str]]:
    program = files("dpbuild.stages.proof").joinpath("import_all.py.txt").read_text()
    task: dict[str, Any] = {"modules": modules, "at_once": _AT_ONCE, "seconds": _SECONDS}
    config = image.config
    outcome = sandbox.run(
        Job(
            rootfs=rootfs,
            argv=(interpreter, "-c", program),
            env=config.environment,
            working_dir=config.working_dir or "/",
            user=config.user,
            stdin=json.dumps(task).encode(),
        )
    )
    try:
        return [(str(name), status, str(output)) for name, status, output in json.loads(outcome.stdout)]
    except ValueError:
        said = outcome.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise SandboxError(f"the image's interpreter ended with {outcome.status}: {said}", where=interpreter) from None


def _problem(status: int | str, output: str) -> str:
    if status == 0:
        return ""
    if status == "late":
        return f"it took more than {_SECONDS} s"
    if isinstance(status, int) and status < 0:
        return f"it was ended by signal {-status}"
    lines = [line for line in output.splitlines() if line.strip()]
    # The last line that is not indented is where Python says what happened; more may follow it.
    said = [line for line in lines if not line.startswith((" ", "\t"))]
    return said[-1] if said else f"it ended with status {status}"
