"""Images with one installed package, ``pkg``, and what the rules of ABI and LIB say of them."""

from factories.image import File, Files
from factories.subject import SITE, found, make_subject

from dpbuild.stages.proof.subject import Subject


def record(name: str, *files: str) -> Files:
    """The metadata of an installed distribution."""
    info = f"{name}-1.0.dist-info"
    rows = "".join(f"{row},,\n" for row in (*files, f"{info}/METADATA", f"{info}/RECORD"))
    return {f"{SITE}/{info}/METADATA": f"Name: {name}\n", f"{SITE}/{info}/RECORD": rows}


def image(files: dict[str, bytes | str], **config: object) -> Subject:
    """``files`` are those of the package, by their path in the site directory."""
    named = {f"{SITE}/{name}": File(body) if isinstance(body, bytes) else body for name, body in files.items()}
    return make_subject({**named, **record("pkg", *files)}, **config)


def rows(subject: Subject) -> list[tuple[str, str, str, str]]:
    """Rule, severity, path below the site directory, evidence."""
    return [
        (row.rule, str(row.severity), row.path.removeprefix(f"/{SITE}/"), row.evidence)
        for row in found(subject, "ABI", "LIB")
    ]
