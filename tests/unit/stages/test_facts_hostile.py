"""Whatever stands in the files that facts are read from: facts, or an error of the base."""

import lzma
import random
from pathlib import Path

from factories.bases import Family, families
from factories.image import Content, File, Files, Folder, Link
from factories.python_image import image_facts

from dpbuild.errors import BaseImageError
from dpbuild.stages import facts_codec

DATA = Path(__file__).parents[2] / "data"
FAMILIES = families(lzma.decompress((DATA / "rpmdb.sqlite.xz").read_bytes()))
# Per family; thousands were tried.
SEEDS = 12
# What the miniature images have by the hundred, and nothing reads.
DULL = ("/lib/python3", "/zoneinfo/")
ODD = [
    b"",
    b"\0",
    b"\xff" * 300,
    b"\x7fELF",
    b"=\n:\n\t\n::::::::\n",
    b"\n" * 3000,
    b"Package",
    b"A:",
    b"#!",
    b"#! \n",
    b"{}",
    b"[]",
]


def damaged(content: Content, chance: random.Random) -> Content:
    """The content, or what is there instead of it, with something wrong."""
    if isinstance(content, Link | Folder) or chance.random() < 0.15:
        return chance.choice([Link("loop"), Link("/"), Link(".."), Folder(), File(chance.choice(ODD), 0o755)])
    data = content.data if isinstance(content, File) else content.encode() if isinstance(content, str) else content
    assert isinstance(data, bytes)
    mode = content.mode if isinstance(content, File) else 0o755
    if not data or chance.random() < 0.3:
        return File(chance.choice(ODD), mode)
    if chance.random() < 0.3:
        return File(data[: chance.randrange(len(data))], mode)
    changed = bytearray(data)
    for _ in range(chance.choice([1, 3, 30])):
        changed[chance.randrange(len(changed))] = chance.choice([0, 1, 10, 58, 127, 255, chance.randrange(256)])
    return File(bytes(changed), mode)


def worse(family: Family, chance: random.Random) -> Files:
    """A layer over those of the family that damages one to three of their files."""
    merged = {path: content for layer in family.layers for path, content in layer.items()}
    names = [path for path in sorted(merged) if not any(part in path for part in DULL) or "sysconfig" in path]
    return {path: damaged(merged[path], chance) for path in chance.sample(names, chance.choice([1, 1, 3]))}


def outcome(name: str, seed: int) -> str:
    family = FAMILIES[name]
    config = family.config
    try:
        found = image_facts(
            *family.layers,
            worse(family, random.Random(f"{name} {seed}")),
            entrypoint=tuple(config.get("Entrypoint", ())),  # type: ignore[arg-type]
            cmd=tuple(config.get("Cmd", ())),  # type: ignore[arg-type]
            env=tuple(config["Env"]),  # type: ignore[arg-type]
            user=str(config.get("User", "")),
        )
    except BaseImageError as problem:
        return f"error {problem.exit_code}"
    assert facts_codec.decode(facts_codec.encode(found)) == found
    return "facts"


def test_damaged_files() -> None:
    assert {outcome(name, seed) for name in FAMILIES for seed in range(SEEDS)} == {"error 20", "facts"}
