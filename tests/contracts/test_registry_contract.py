"""The Registry and ImageSource ports: one suite, on the registry in this process and on Debian's docker-registry."""

import hashlib
import io
import shutil
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import pytest
from fakes.registry import fake_registry
from machinery import serving

from dpbuild.adapters.registry.client import RegistryClient
from dpbuild.adapters.registry.credentials import Credential
from dpbuild.errors import NotFound, RegistryError, Unauthorized
from dpbuild.oci import mediatype
from dpbuild.oci.codec import encode_index, encode_manifest
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Index, Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import RegistryReference
from dpbuild.ports.registry import Registry

USER, PASSWORD = "ann", "s3cret"


@dataclass(frozen=True)
class Login:
    username: str = USER
    password: str = PASSWORD

    def find(self, registry: str, repository: str) -> Credential | None:
        return Credential(origin="the test", username=self.username, password=self.password)


@dataclass(frozen=True)
class Case:
    host: str
    locked: bool


@pytest.fixture(scope="module")
def real(need: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    need("registry")
    with serving(tmp_path_factory.mktemp("open")) as host:
        yield host


@pytest.fixture(scope="module")
def real_locked(need: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    need("registry")
    if shutil.which("htpasswd") is None:
        pytest.skip("htpasswd is not installed")
    folder = tmp_path_factory.mktemp("locked")
    line = subprocess.run(["htpasswd", "-Bbn", USER, PASSWORD], capture_output=True, text=True, check=True).stdout
    (folder / "htpasswd").write_text(line)
    with serving(folder, f"auth:\n  htpasswd:\n    realm: test\n    path: {folder}/htpasswd\n") as host:
        yield host


KINDS = [
    "fake",
    "fake-basic",
    "fake-token",
    pytest.param("real", marks=pytest.mark.registry),
    pytest.param("real-htpasswd", marks=pytest.mark.registry),
]
LOCKED = [KINDS[1], KINDS[2], KINDS[4]]


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param == "real":
        yield Case(request.getfixturevalue("real"), locked=False)
    elif request.param == "real-htpasswd":
        yield Case(request.getfixturevalue("real_locked"), locked=True)
    else:
        auth = request.param.removeprefix("fake").removeprefix("-") or "none"
        with fake_registry(auth=auth, users={USER: PASSWORD}) as fake:
            yield Case(fake.host, locked=auth != "none")


@pytest.fixture
def client(case: Case) -> Iterator[RegistryClient]:
    client = RegistryClient(credentials=Login() if case.locked else None)
    yield client
    client.close()


@pytest.fixture
def repository(case: Case, request: pytest.FixtureRequest) -> RegistryReference:
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    return RegistryReference(registry=case.host, repository=f"contract/r{name}", tag="1")


def blob(data: bytes, media_type: str = mediatype.OCI_LAYER_GZIP) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))


def push_image(
    client: Registry, where: RegistryReference, layer: bytes = b"layer", *, docker: bool = False
) -> tuple[Descriptor, bytes]:
    """A whole image under the tag of ``where``."""
    config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    kinds = (mediatype.OCI_CONFIG, mediatype.OCI_LAYER_GZIP, mediatype.OCI_MANIFEST)
    if docker:
        kinds = (mediatype.DOCKER_CONFIG, mediatype.DOCKER_LAYER_GZIP, mediatype.DOCKER_MANIFEST)
    manifest = Manifest(media_type=kinds[2], config=blob(config, kinds[0]), layers=(blob(layer, kinds[1]),))
    for row, data in ((manifest.config, config), (manifest.layers[0], layer)):
        client.push_blob(where, row, lambda data=data: io.BytesIO(data))
    data = encode_manifest(manifest)
    assert client.push_manifest(where, manifest.media_type, data) == Digest.of(data)
    return blob(data, manifest.media_type), data


@pytest.mark.parametrize("docker", [False, True])
def test_an_image_comes_back_as_it_was(client: RegistryClient, repository: RegistryReference, docker: bool) -> None:
    descriptor, data = push_image(client, repository, docker=docker)
    assert client.source(repository).resolve() == (descriptor, data)
    assert client.source(repository.at(descriptor.digest)).resolve() == (descriptor, data)
    assert client.head_manifest(repository) == descriptor
    assert client.look_up(repository) == (descriptor, data)
    source = client.source(repository)
    assert b"".join(source.blob(blob(b"layer"))) == b"layer"


def test_a_config_is_read_as_a_blob(client: RegistryClient, repository: RegistryReference) -> None:
    data = b'{"config":{}}'
    descriptor = blob(data, mediatype.OCI_CONFIG)
    assert client.push_blob(repository, descriptor, lambda: io.BytesIO(data))
    assert client.source(repository).manifest(descriptor) == data


def test_an_index_and_its_children(client: RegistryClient, repository: RegistryReference) -> None:
    child, data = push_image(client, repository)
    row = Descriptor(
        media_type=child.media_type, digest=child.digest, size=child.size, platform=Platform("linux", "amd64")
    )
    index = encode_index(Index(media_type=mediatype.OCI_INDEX, manifests=(row,)))
    client.push_manifest(repository, mediatype.OCI_INDEX, index)
    source = client.source(repository)
    assert source.resolve() == (blob(index, mediatype.OCI_INDEX), index)
    assert source.manifest(row) == data


def test_pushing_by_digest(client: RegistryClient, repository: RegistryReference) -> None:
    descriptor, data = push_image(client, repository)
    where = repository.at(descriptor.digest)
    assert client.push_manifest(where, descriptor.media_type, data) == descriptor.digest
    with pytest.raises(RegistryError, match="not the manifest"):
        client.push_manifest(where, descriptor.media_type, data + b" ")


def test_a_blob_is_sent_once(client: RegistryClient, repository: RegistryReference, case: Case) -> None:
    data = b"once" * 100_000
    opened = []

    def content() -> io.BytesIO:
        opened.append(1)
        return io.BytesIO(data)

    assert not client.has_blob(repository, Digest.of(data))
    assert client.push_blob(repository, blob(data), content)
    assert not client.push_blob(repository, blob(data), content)
    assert client.has_blob(repository, Digest.of(data))
    other = RegistryClient(credentials=Login() if case.locked else None)
    assert not other.push_blob(repository, blob(data), content)
    # A registry may ask for the login when the bytes are already on their way.
    assert len(opened) <= 2
    other.close()


def test_a_fresh_blob_is_sent_without_a_question(
    client: RegistryClient, repository: RegistryReference, case: Case
) -> None:
    data = b"fresh"
    assert client.push_blob(repository, blob(data), lambda: io.BytesIO(data), fresh=True)
    # One that is there after all does no harm.
    other = RegistryClient(credentials=Login() if case.locked else None)
    assert other.push_blob(repository, blob(data), lambda: io.BytesIO(data), fresh=True)
    assert b"".join(other.source(repository).blob(blob(data))) == data
    other.close()


def test_an_empty_blob(client: RegistryClient, repository: RegistryReference) -> None:
    assert client.push_blob(repository, blob(b""), lambda: io.BytesIO(b""))
    assert b"".join(client.source(repository).blob(blob(b""))) == b""


def test_a_blob_is_mounted(client: RegistryClient, repository: RegistryReference) -> None:
    data = b"mounted"
    other = RegistryReference(registry=repository.registry, repository=repository.repository + "-other", tag="1")
    push_image(client, repository, data)
    assert not client.push_blob(other, blob(data), lambda: pytest.fail("sent"), repository)
    assert b"".join(client.source(other).blob(blob(data))) == data


def test_a_mount_from_where_it_is_not_is_sent(client: RegistryClient, repository: RegistryReference) -> None:
    data = b"not to be mounted"
    other = RegistryReference(registry=repository.registry, repository="contract/nothing-here")
    assert client.push_blob(repository, blob(data), lambda: io.BytesIO(data), other)
    assert b"".join(client.source(repository).blob(blob(data))) == data


def test_what_is_not_there(client: RegistryClient, repository: RegistryReference) -> None:
    assert client.head_manifest(repository) is None
    assert client.look_up(repository) is None
    with pytest.raises(NotFound) as caught:
        client.source(repository).resolve()
    assert caught.value.exit_code == 92
    assert str(repository) in caught.value.what
    with pytest.raises(NotFound):
        list(client.source(repository).blob(blob(b"absent")))


def test_a_blob_of_another_size_than_said(client: RegistryClient, repository: RegistryReference) -> None:
    for data in (b"short", b"this is longer"):
        with pytest.raises(RegistryError, match="size"):
            client.push_blob(
                repository,
                Descriptor(media_type="", digest=Digest.of(data), size=9),
                lambda data=data: io.BytesIO(data),
            )
        assert not client.has_blob(repository, Digest.of(data))


def test_wrong_bytes_are_refused(client: RegistryClient, repository: RegistryReference) -> None:
    descriptor = Descriptor(media_type="", digest=Digest.of(b"right"), size=5)
    with pytest.raises(RegistryError) as caught:
        client.push_blob(repository, descriptor, lambda: io.BytesIO(b"wrong"))
    assert caught.value.exit_code == 90
    assert "DIGEST_INVALID" in caught.value.what
    assert not client.has_blob(repository, descriptor.digest)


def test_a_manifest_with_a_blob_that_is_not_there(client: RegistryClient, repository: RegistryReference) -> None:
    data = encode_manifest(
        Manifest(media_type=mediatype.OCI_MANIFEST, config=blob(b"{}", mediatype.OCI_CONFIG), layers=())
    )
    with pytest.raises(RegistryError, match="BLOB_UNKNOWN"):
        client.push_manifest(repository, mediatype.OCI_MANIFEST, data)


@pytest.mark.parametrize("case", LOCKED, indirect=True)
@pytest.mark.parametrize("credentials", [None, Login(password="wr0ng-word")])
def test_wrong_logins(case: Case, repository: RegistryReference, credentials: Login | None) -> None:
    waited: list[float] = []
    client = RegistryClient(credentials=credentials, sleep=waited.append)
    for action in (
        lambda: client.head_manifest(repository),
        lambda: client.look_up(repository),
        lambda: client.source(repository).resolve(),
        lambda: client.push_blob(repository, blob(b"x"), lambda: pytest.fail("sent")),
    ):
        with pytest.raises(Unauthorized) as caught:
            action()
        assert caught.value.exit_code == 91
        text = f"{caught.value} {caught.value.hint}"
        assert case.host in text
        assert "wr0ng-word" not in text
        assert ("the test" in text) == (credentials is not None)
    assert waited == []
    client.close()


class Zeros(io.RawIOBase):
    """A file of so many zero bytes that is nowhere."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        data = bytes(min(size, self._left))
        self._left -= len(data)
        return data


@pytest.mark.registry
def test_memory_does_not_grow_with_a_blob(real: str) -> None:
    size = 64 << 20
    hasher = hashlib.sha256()
    for _ in range(64):
        hasher.update(bytes(1 << 20))
    row = Descriptor(media_type=mediatype.OCI_LAYER_GZIP, digest=Digest(hasher.hexdigest()), size=size)
    where = RegistryReference(registry=real, repository="contract/big", tag="1")
    client = RegistryClient()
    client.has_blob(where, row.digest)
    tracemalloc.start()
    try:
        assert client.push_blob(where, row, lambda: cast("BinaryIO", Zeros(size)))
        assert sum(len(chunk) for chunk in client.read_blob(where, row)) == size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        client.close()
    assert peak < 4 << 20
