"""What is said where an image is not in a registry, and what a registry is not asked for."""

from collections.abc import Iterator

import pytest

from dpbuild.adapters.source.registry import RegistrySource
from dpbuild.errors import NotFound, RateLimited, RegistryError, Unauthorized
from dpbuild.oci import mediatype
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import RegistryReference, parse_registry


class Refusing:
    """A registry that answers everything with one error."""

    def __init__(self, error: RegistryError) -> None:
        self.error = error

    def read_manifest(
        self, reference: RegistryReference, expected: Descriptor | None = None
    ) -> tuple[Descriptor, bytes]:
        raise self.error

    def referrers(self, reference: RegistryReference, subject: Digest) -> tuple[Descriptor, ...]:
        raise self.error

    def read_blob(self, reference: RegistryReference, descriptor: Descriptor) -> Iterator[bytes]:
        raise self.error


def refused(name: str, error: RegistryError) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        RegistrySource(Refusing(error), parse_registry(name)).resolve()
    return caught.value


@pytest.mark.parametrize(
    ("name", "said"), [("mytool:dev", "mytool:dev"), ("bad-a", "bad-a"), ("acme/api:1", "acme/api:1")]
)
def test_a_name_on_docker_hub_may_be_an_engines(name: str, said: str) -> None:
    """Docker Hub answers 401 for what is not there."""
    found = refused(name, Unauthorized("no", hint="docker login docker.io"))
    assert found.hint == f"docker login docker.io; for an image in the engine: docker-daemon:{said}"
    assert found.exit_code == 91
    assert refused(name, NotFound("no")).hint == f"for an image in the engine: docker-daemon:{said}"


@pytest.mark.parametrize("name", ["debian13", "debian12:debug"])
def test_a_suite_is_composed(name: str) -> None:
    assert refused(name, NotFound("no")).hint == f"for a base that is made here: compose:{name}"


def test_other_names_and_other_troubles_have_their_own_hints() -> None:
    assert refused("registry.example/acme/api:1", NotFound("no", hint="check the name")).hint == "check the name"
    assert refused(f"api@sha256:{'0' * 64}", NotFound("no")).hint is None
    assert refused("api", RateLimited("no", hint="try again later")).hint == "try again later"


MANIFEST = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}'


@pytest.mark.parametrize(
    ("kept", "there"),
    [
        (MANIFEST, True),
        # Damaged, or cut where it was longer than a manifest can be; what does not say what it is; no manifest.
        (MANIFEST[:-1], False),
        (b'{"schemaVersion":2}', False),
        (b'{"mediaType":"application/vnd.oci.image.config.v1+json"}', False),
        (b"\x1f\x8b", False),
        (None, False),
    ],
)
def test_what_a_digest_names_is_not_asked_for_again(kept: bytes | None, there: bool) -> None:
    digest = Digest.of(MANIFEST if kept == MANIFEST[:-1] or kept is None else kept)
    reference = parse_registry(f"registry.example/acme/api@{digest}")
    asked: list[Digest] = []

    def known(digest: Digest) -> bytes | None:
        asked.append(digest)
        return kept

    source = RegistrySource(Refusing(RegistryError("asked")), reference, known)
    if there:
        assert source.resolve() == (Descriptor(media_type=mediatype.OCI_MANIFEST, digest=digest, size=76), MANIFEST)
    else:
        with pytest.raises(RegistryError, match="asked"):
            source.resolve()
    assert asked == [digest]
    # A tag is asked for, whatever is kept.
    with pytest.raises(RegistryError, match="asked"):
        RegistrySource(Refusing(RegistryError("asked")), parse_registry("registry.example/api:1"), known).resolve()
    assert asked == [digest]
