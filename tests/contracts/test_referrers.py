"""Attaching to manifests: by the referrers API, and by the tag scheme on registries that have none."""

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Self

import pytest
from fakes.registry import FakeRegistry, fake_registry

from dpbuild.adapters.registry.client import RegistryClient
from dpbuild.adapters.sink.registry import RegistrySink
from dpbuild.errors import RegistryError, Unauthorized
from dpbuild.model.image import Image, Images, Referrer
from dpbuild.oci import mediatype
from dpbuild.oci.codec import encode_index, encode_manifest
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Index, Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import ComposeReference, RegistryReference
from dpbuild.ports.source import Referred
from dpbuild.stages.evidence.referrers import referrer

CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


def image(name: str) -> Images:
    config = CONFIG[:-1] + b',"author":"' + name.encode() + b'"}'
    manifest = Manifest(
        media_type=mediatype.OCI_MANIFEST,
        config=Descriptor(media_type=mediatype.OCI_CONFIG, digest=Digest.of(config), size=len(config)),
        layers=(),
    )
    data = encode_manifest(manifest)
    one = Image(
        platform=Platform("linux", "amd64"),
        descriptor=Descriptor(media_type=manifest.media_type, digest=Digest.of(data), size=len(data)),
        manifest=manifest,
        manifest_bytes=data,
        config_bytes=config,
        base=ComposeReference(suite="debian13"),
        base_layers=0,
    )
    return Images(descriptor=one.descriptor, images=(one,))


def evidence(subject: Descriptor, *texts: bytes) -> tuple[Referrer, ...]:
    when = "1970-01-01T00:00:00Z"
    return tuple(referrer(subject, text, "application/vnd.example+text", created=when) for text in texts)


class Quiet:
    """A Reporter and its steps that say nothing."""

    def step(self, *_: object) -> "Quiet":
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, *_: object) -> None:
        pass

    done = note = result = advance


def push(client: RegistryClient, where: RegistryReference, images: Images) -> None:
    RegistrySink(client, (where,), lambda row: pytest.fail(str(row)), Quiet()).write(images)  # type: ignore[arg-type]


@pytest.fixture(params=["api", "tag", pytest.param("real", marks=pytest.mark.registry)])
def host(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "real":
        yield request.getfixturevalue("registry")
    else:
        with fake_registry(referrers=request.param == "api") as fake:
            yield fake.host


def place(host: str, request: pytest.FixtureRequest) -> RegistryReference:
    name = request.node.name.partition("[")[0].replace("_", "-")
    return RegistryReference(registry=host, repository=f"referrers/{name}", tag="1")


def test_what_is_attached_is_found(host: str, request: pytest.FixtureRequest) -> None:
    client, where, images = RegistryClient(), place(host, request), image("found")
    rows = evidence(images.descriptor, b"one", b"two")
    push(client, where, replace(images, referrers=rows))
    source = client.source(where)
    assert isinstance(source, Referred)
    found = source.referrers(images.descriptor.digest)
    assert set(found) == {row.descriptor for row in rows}
    for row, text in zip(rows, (b"one", b"two"), strict=True):
        assert source.manifest(row.descriptor) == row.manifest_bytes
        assert b"".join(source.blob(row.blobs[1].descriptor)) == text
    assert source.referrers(Digest.of(b"another")) == ()
    # Once more, and one more.
    more = evidence(images.descriptor, b"three")
    push(client, where, replace(images, referrers=rows))
    push(client, where, replace(images, referrers=more))
    assert set(source.referrers(images.descriptor.digest)) == {row.descriptor for row in (*rows, *more)}
    client.close()


def test_several_at_the_same_time(host: str, request: pytest.FixtureRequest) -> None:
    """Each of them finds its own when it is done: whoever was overtaken has added its row again."""
    where, images = place(host, request), image("many")
    setup = RegistryClient()
    push(setup, where, images)
    clients = [RegistryClient(sleep=lambda seconds: None) for _ in range(4)]
    rows = [evidence(images.descriptor, f"by {number}".encode()) for number in range(len(clients))]
    for client, mine in zip(clients, rows, strict=True):
        for each in mine[0].blobs:
            client.push_blob(where, each.descriptor, lambda each=each: io.BytesIO(each.read()))
    lost = []

    def attach(client: RegistryClient, mine: tuple[Referrer, ...]) -> None:
        client.attach(where, mine)()
        if mine[0].descriptor not in client.referrers(where, images.descriptor.digest):
            lost.append(mine)

    threads = [threading.Thread(target=attach, args=pair) for pair in zip(clients, rows, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Without any means of the registry a row can still be lost in between; attaching again brings it back.
    for client, mine in zip(clients, rows, strict=True):
        client.attach(where, mine)()
    assert set(setup.referrers(where, images.descriptor.digest)) == {mine[0].descriptor for mine in rows}
    assert len(lost) < len(rows)
    for client in (setup, *clients):
        client.close()


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


REPOSITORY = "a/b"


def fallback(fake: FakeRegistry, subject: Digest) -> dict:
    return json.loads(fake.manifests[REPOSITORY][f"sha256-{subject.hex}"][1])


def test_what_others_wrote_stays_as_it_is(fake: FakeRegistry) -> None:
    client, images = RegistryClient(), image("others")
    where = RegistryReference(registry=fake.host, repository=REPOSITORY, tag="1")
    strange = {"mediaType": mediatype.OCI_MANIFEST, "digest": "sha256:" + "1" * 64, "size": 3, "data": "e30=", "x": 1}
    broken = {"digest": "md5:abc"}
    index = {
        "schemaVersion": 2,
        "mediaType": mediatype.OCI_INDEX,
        "manifests": [strange, broken],
        "annotations": {"a": "b"},
    }
    tag = f"sha256-{images.descriptor.digest.hex}"
    fake.check_blobs = False
    fake.add_manifest(REPOSITORY, tag, mediatype.OCI_INDEX, json.dumps(index).encode())
    rows = evidence(images.descriptor, b"ours")
    push(client, where, replace(images, referrers=rows))
    now = fallback(fake, images.descriptor.digest)
    assert now["manifests"][:2] == [strange, broken]
    assert [row["digest"] for row in now["manifests"][2:]] == [str(rows[0].descriptor.digest)]
    assert now["manifests"][2]["artifactType"] == "application/vnd.example+text"
    assert now["annotations"] == {"a": "b"}
    assert [str(row.digest) for row in client.referrers(where, images.descriptor.digest)] == [
        strange["digest"], str(rows[0].descriptor.digest)
    ]  # fmt: skip
    client.close()


def test_a_list_that_goes_on_at_what_is_no_address(fake: FakeRegistry) -> None:
    client, subject = RegistryClient(), Digest("0" * 64)
    where = RegistryReference(registry=fake.host, repository=REPOSITORY, tag="1")
    body = json.dumps({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": []}).encode()
    link = {"Link": '<http://[::1>; rel="next"', "Content-Type": mediatype.OCI_INDEX}
    fake.trouble("GET", "/referrers/", status=200, headers=link, body=body)
    with pytest.raises(RegistryError, match=r"goes on at what is no address: http://\[::1") as caught:
        client.referrers(where, subject)
    assert caught.value.exit_code == 90
    client.close()


def test_a_row_that_somebody_overwrote_is_added_again(fake: FakeRegistry) -> None:
    client, images = RegistryClient(sleep=lambda seconds: None), image("race")
    where = RegistryReference(registry=fake.host, repository=REPOSITORY, tag="1")
    rows = evidence(images.descriptor, b"ours")
    push(client, where, images)
    for each in rows[0].blobs:
        client.push_blob(where, each.descriptor, lambda each=each: io.BytesIO(each.read()))
    tag = f"sha256-{images.descriptor.digest.hex}"
    empty = json.dumps({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": []}).encode()
    kept, times = fake.add_manifest, [3]

    def overtaken(repository: str, name: str, media_type: str, data: bytes) -> str:
        digest = kept(repository, name, media_type, data)
        if name == tag and times[0]:
            times[0] -= 1
            kept(repository, tag, mediatype.OCI_INDEX, empty)
        return digest

    fake.add_manifest = overtaken  # type: ignore[method-assign]
    client.attach(where, rows)()
    assert [row["digest"] for row in fallback(fake, images.descriptor.digest)["manifests"]] == [
        str(rows[0].descriptor.digest)
    ]
    times[0] = 100
    with pytest.raises(RegistryError, match="over and over"):
        client.attach(where, _new(client, where, images))()
    client.close()


def test_a_row_that_was_overwritten_while_the_tag_moved(fake: FakeRegistry) -> None:
    client, images = RegistryClient(sleep=lambda seconds: None), image("late race")
    where = RegistryReference(registry=fake.host, repository=REPOSITORY, tag="1")
    rows = evidence(images.descriptor, b"ours")
    empty = json.dumps({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": []}).encode()
    kept, names = fake.add_manifest, []

    def overtaken(repository: str, name: str, media_type: str, data: bytes) -> str:
        digest = kept(repository, name, media_type, data)
        names.append(name)
        if name.startswith("sha256-") and names.count(name) == 1:
            kept(repository, name, mediatype.OCI_INDEX, empty)
        return digest

    fake.add_manifest = overtaken  # type: ignore[method-assign]
    push(client, where, replace(images, referrers=rows))
    assert client.head_manifest(where) == images.descriptor
    assert client.referrers(where, images.descriptor.digest) == (rows[0].descriptor,)
    # The list was there before the tag, and once more after it was lost.
    tag = f"sha256-{images.descriptor.digest.hex}"
    assert names.index(tag) < names.index("1")
    assert names.count(tag) == 2
    client.close()


@pytest.mark.parametrize("status", [400, 404, 500])
@pytest.mark.parametrize("lists", [False, True])
def test_a_registry_that_wants_the_subject_first(fake: FakeRegistry, status: int, lists: bool) -> None:
    """The spec says that it must not; GitLab's does."""
    fake.subject_first, fake.referrers, fake.page = status, lists, 9
    client, images = RegistryClient(sleep=lambda seconds: None), image("subject first")
    where = RegistryReference(registry=fake.host, repository=REPOSITORY, tag="1")
    rows = evidence(images.descriptor, b"one", b"two")
    push(client, where, replace(images, referrers=rows))
    puts = [row.rpartition("/")[2] for row in fake.requests if row.startswith("PUT") and "/manifests/" in row]
    assert puts[-1] == "1"
    assert puts.count(str(images.descriptor.digest)) == 1
    assert client.head_manifest(where) == images.descriptor
    assert set(client.referrers(where, images.descriptor.digest)) == {row.descriptor for row in rows}
    client.close()


def test_a_login_that_may_not_attach_is_no_question_of_order(fake: FakeRegistry) -> None:
    fake.trouble("PUT", "/manifests/", status=403)
    client, images = RegistryClient(sleep=lambda seconds: None), image("forbidden")
    where = RegistryReference(registry=fake.host, repository=REPOSITORY, tag="1")
    with pytest.raises(Unauthorized):
        push(client, where, replace(images, referrers=evidence(images.descriptor, b"one")))
    assert fake.count("PUT", "/manifests/") == 1
    client.close()


def test_an_index_and_its_evidence(fake: FakeRegistry) -> None:
    """Manifests that an index names are there before it; what is about any of them before the tag."""
    client = RegistryClient()
    where = RegistryReference(registry=fake.host, repository=REPOSITORY, tag="1")
    below = [image(name).images[0] for name in ("amd64", "arm64")]
    data = encode_index(Index(media_type=mediatype.OCI_INDEX, manifests=tuple(each.descriptor for each in below)))
    whole = Descriptor(media_type=mediatype.OCI_INDEX, digest=Digest.of(data), size=len(data))
    subjects = (*(each.descriptor for each in below), whole)
    rows = [row for subject in subjects for row in evidence(subject, b"of " + subject.digest.hex.encode())]
    push(client, where, Images(descriptor=whole, images=tuple(below), index_bytes=data, referrers=tuple(rows)))
    puts = [row.rpartition("/")[2] for row in fake.requests if row.startswith("PUT") and "/manifests/" in row]
    assert [set(puts[:2]), set(puts[2:5]), set(puts[5:8]), puts[8:]] == [
        {str(each.descriptor.digest) for each in below},
        {str(row.descriptor.digest) for row in rows},
        {f"sha256-{subject.digest.hex}" for subject in subjects},
        ["1"],
    ]
    for subject, row in zip(subjects, rows, strict=True):
        assert client.referrers(where, subject.digest) == (row.descriptor,)
    client.close()


def _new(client: RegistryClient, where: RegistryReference, images: Images) -> tuple[Referrer, ...]:
    rows = evidence(images.descriptor, b"another")
    for each in rows[0].blobs:
        client.push_blob(where, each.descriptor, lambda each=each: io.BytesIO(each.read()))
    return rows


def test_a_tag_that_is_no_list_is_left_alone(fake: FakeRegistry) -> None:
    client, images = RegistryClient(), image("taken")
    where = RegistryReference(registry=fake.host, repository=REPOSITORY, tag="1")
    other = image("something else")
    push(client, replace(where, tag=f"sha256-{images.descriptor.digest.hex}"), other)
    with pytest.raises(RegistryError, match="names something else") as caught:
        push(client, where, replace(images, referrers=evidence(images.descriptor, b"x")))
    assert "--no-evidence" in str(caught.value.hint)
    # Evidence goes first: no tag names an image whose evidence could not be attached.
    assert client.head_manifest(where) is None
    client.close()


def test_the_order_and_what_is_asked_again(fake: FakeRegistry) -> None:
    client, images = RegistryClient(), image("order")
    where = RegistryReference(registry=fake.host, repository=REPOSITORY, tag="1")
    rows = evidence(images.descriptor, b"one", b"two")
    push(client, where, replace(images, referrers=rows))
    puts = [row.rpartition("/")[2] for row in fake.requests if row.startswith("PUT") and "/manifests/" in row]
    # Evidence, in whatever order; then the image, once, by its tag.
    assert set(puts[:2]) == {str(row.descriptor.digest) for row in rows}
    assert puts[2:] == [f"sha256-{images.descriptor.digest.hex}", "1"]
    # The list is read before and after; only what every artifact has is asked for.
    assert (fake.count("GET"), fake.count("HEAD", "/blobs/")) == (2, 1)
    assert (fake.count("POST"), len(fake.requests)) == (4, 16)
    client.close()
    fake.forget()
    again = RegistryClient()
    push(again, where, replace(images, referrers=rows))
    assert fake.requests == [
        f"HEAD /v2/{REPOSITORY}/manifests/1",
        f"GET /v2/{REPOSITORY}/referrers/{images.descriptor.digest}",
        f"GET /v2/{REPOSITORY}/manifests/sha256-{images.descriptor.digest.hex}",
    ]
    again.close()


def test_an_answer_that_is_no_list_counts_as_no_api(fake: FakeRegistry) -> None:
    client, images = RegistryClient(), image("proxy")
    where = RegistryReference(registry=fake.host, repository=REPOSITORY, tag="1")
    rows = evidence(images.descriptor, b"one")
    push(client, where, replace(images, referrers=rows))
    fake.trouble("GET", "/referrers/", status=200, body=b"<html>welcome</html>")
    assert client.referrers(where, images.descriptor.digest) == (rows[0].descriptor,)
    client.close()
