"""References to images, in skopeo's words: ``[docker://]registry/repo[:tag]``, ``oci:PATH`` and the like."""

import re
from typing import Literal, Self

from dpbuild.frozen import frozen, replace
from dpbuild.oci.digest import Digest

# distribution/reference, regexp.go, as quoted in the OCI distribution spec, "Pulling manifests".
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_REGISTRY = re.compile(r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")
# As Debian's snapshot archive names its moments, in UTC; the time of day may be left out.
SNAPSHOT = "%Y%m%dT%H%M%SZ"
_MOMENT = re.compile(r"[0-9]{8}T[0-9]{6}Z")

# What Docker's short names stand for.
DOCKER_HUB = "docker.io"
DOCKER_HUB_HOST = "registry-1.docker.io"


@frozen
class RegistryReference:
    """An image in a registry: ``registry`` is host[:port]."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """``registry/repository``, without tag or digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def short(self) -> str:
        """``repository[:tag]``, as Docker shows what is on Docker Hub."""
        return self.repository.removeprefix("library/") + (f":{self.tag}" if self.tag else "")

    @property
    def selector(self) -> str:
        """What goes into ``/v2/<name>/manifests/<reference>``: the digest if there is one, else the tag."""
        return str(self.digest) if self.digest is not None else (self.tag or "latest")

    def at(self, digest: Digest) -> Self:
        """The same image, by digest alone."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{'@' + str(self.digest) if self.digest else ''}"


@frozen
class LayoutReference:
    """An image in an OCI layout folder."""

    path: str
    tag: str | None = None
    digest: Digest | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"oci:{self.path}{tag}{'@' + str(self.digest) if self.digest else ''}"


@frozen
class ArchiveReference:
    """An image in one tar file."""

    kind: Literal["oci-archive", "docker-archive"]
    path: str
    digest: Digest | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}{'@' + str(self.digest) if self.digest else ''}"


@frozen
class DaemonReference:
    """An image that an engine has: a name, or ``sha256:<image id>``."""

    name: str

    def __str__(self) -> str:
        return f"docker-daemon:{self.name}"


@frozen
class ComposeReference:
    """A distroless Python base made from Debian's packages; ``snapshot`` is as of when, ``YYYYMMDDTHHMMSSZ`` or ""."""

    suite: str
    variant: str = "latest"
    snapshot: str = ""
    digest: Digest | None = None

    def __str__(self) -> str:
        moment = f"@{self.snapshot}" if self.snapshot else ""
        return f"compose:{self.suite}{moment}:{self.variant}{'@' + str(self.digest) if self.digest else ''}"


Reference = RegistryReference | LayoutReference | ArchiveReference | DaemonReference | ComposeReference


def parse(text: str) -> Reference:
    """Read any reference. Raises ValueError with a sentence that says what is wrong."""
    text = text.strip()
    scheme, colon, rest = text.partition(":")
    if colon and rest.startswith("//") and scheme == "docker":
        return parse_registry(rest[2:])
    if colon and scheme == "docker-daemon":
        if not rest:
            raise ValueError(f"docker-daemon: needs an image name: {text!r}")
        return DaemonReference(name=rest)
    if colon and scheme in ("oci", "compose", "oci-archive", "docker-archive"):
        rest, digest = _split_digest(rest, text)
        if not rest:
            raise ValueError(f"{scheme}: needs {'a suite' if scheme == 'compose' else 'a path'}: {text!r}")
        if scheme == "oci-archive":
            return ArchiveReference(kind="oci-archive", path=rest, digest=digest)
        if scheme == "docker-archive":
            return ArchiveReference(kind="docker-archive", path=rest, digest=digest)
        head, colon, tail = rest.rpartition(":")
        if scheme == "oci":
            tagged = bool(colon and head and _TAG.fullmatch(tail))
            return LayoutReference(path=head if tagged else rest, tag=tail if tagged else None, digest=digest)
        return _compose(rest, digest, text)
    return parse_registry(text)


def _compose(rest: str, digest: Digest | None, text: str) -> ComposeReference:
    """``SUITE[@TIMESTAMP][:VARIANT]``."""
    head, _, variant = rest.partition(":")
    suite, at, moment = head.partition("@")
    if "@" in variant:
        raise ValueError(f"a timestamp belongs to the suite, as in compose:debian13@20260901T000000Z:nonroot: {text!r}")
    if not suite:
        raise ValueError(f"compose: needs a suite: {text!r}")
    snapshot = ""
    if at:
        from datetime import datetime

        snapshot = moment if "T" in moment else f"{moment}T000000Z"
        try:
            if not _MOMENT.fullmatch(snapshot):
                raise ValueError(snapshot)
            datetime.strptime(snapshot, SNAPSHOT)
        except ValueError:
            raise ValueError(
                f"not a timestamp: {moment!r} in {text!r} (expected something like 20260901T000000Z)"
            ) from None
    return ComposeReference(suite=suite, variant=variant or "latest", snapshot=snapshot, digest=digest)


def parse_registry(text: str) -> RegistryReference:
    """Read ``registry/repo[:tag][@digest]``; Docker's short names expand as in Docker. Raises ValueError."""
    rest, digest = _split_digest(text, text)
    first, slash, remainder = rest.partition("/")
    # As distribution/reference does it: no repository has upper case in it, so such a word is a host.
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, path = first, remainder
    else:
        registry, path = DOCKER_HUB, rest
    if registry == "index.docker.io":
        registry = DOCKER_HUB
    repository, colon, tag = path.partition(":")
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if not _REGISTRY.fullmatch(registry) or not _REPOSITORY.fullmatch(repository) or len(repository) > 255:
        raise ValueError(f"not an image reference: {text!r}")
    if colon and not _TAG.fullmatch(tag):
        raise ValueError(f"not a tag: {tag!r} in {text!r}")
    return RegistryReference(registry=registry, repository=repository, tag=tag if colon else None, digest=digest)


def _split_digest(rest: str, text: str) -> tuple[str, Digest | None]:
    head, at, tail = rest.rpartition("@")
    if not at:
        return rest, None
    if not tail.startswith("sha256:"):
        # A path may hold an at sign; a digest of another algorithm may not pass as part of one.
        if re.fullmatch(r"[a-z0-9+._-]+:[0-9a-fA-F]{32,}", tail):
            raise ValueError(f"only sha256 digests are supported: {text!r}")
        return rest, None
    return head, Digest.parse(tail)
