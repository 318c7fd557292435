"""The client against trouble: broken connections, busy registries, wrong bytes, redirects; and what it asks."""

import io
from collections.abc import Iterator

import pytest
from fakes.registry import FakeRegistry, fake_registry

from dpbuild.adapters.registry.client import RegistryClient
from dpbuild.adapters.registry.credentials import Credential
from dpbuild.adapters.registry.manifests import LIMIT
from dpbuild.adapters.registry.retry import retry_after
from dpbuild.errors import NotFound, RateLimited, RegistryError, Unauthorized
from dpbuild.oci import mediatype
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import RegistryReference, parse_registry

DATA = bytes(range(256)) * 4096  # 1 MiB
MANIFEST = b'{"config":{},"layers":[],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}'


class Waits(list[float]):
    """Takes the place of sleep."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


class Ann:
    def find(self, registry: str, repository: str) -> Credential | None:
        return Credential(origin="the test", username="ann", password="s3cret")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as fake:
        yield fake


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def client(waits: Waits) -> Iterator[RegistryClient]:
    client = RegistryClient(sleep=waits, timeout=5)
    yield client
    client.close()


@pytest.fixture
def ref(fake: FakeRegistry) -> RegistryReference:
    return RegistryReference(registry=fake.host, repository="team/app", tag="1")


def blob(data: bytes = DATA) -> Descriptor:
    return Descriptor(media_type=mediatype.OCI_LAYER_GZIP, digest=Digest.of(data), size=len(data))


def methods(fake: FakeRegistry) -> list[str]:
    return [row.partition(" ")[0] for row in fake.requests]


# reading blobs


@pytest.mark.parametrize("cuts", [[0], [1], [300_000], [1000, 500_000, 100]])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_broke(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference, cuts: list[int], ranges: bool
) -> None:
    fake.add_blob("team/app", DATA)
    fake.ranges = ranges
    if not ranges:
        # Every try starts at the beginning, so only one that gets further than the last makes progress.
        cuts = sorted(cuts)
    for cut in cuts:
        fake.trouble("GET", "/blobs/", cut=cut)
    assert b"".join(client.read_blob(ref, blob())) == DATA
    asked = [row.headers.get("Range") for row in fake.seen]
    assert len(asked) == len(cuts) + 1
    assert asked[0] is None
    assert asked[-1] == (f"bytes={sum(cuts) if ranges else cuts[-1]}-" if cuts != [0] else None)


def test_a_download_that_makes_no_progress_ends(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference, waits: Waits
) -> None:
    fake.add_blob("team/app", DATA)
    fake.trouble("GET", "/blobs/", cut=100_000, times=1)
    # A byte each time is none: the rest would take years.
    fake.trouble("GET", "/blobs/", cut=1, times=99)
    with pytest.raises(RegistryError, match="broke") as caught:
        list(client.read_blob(ref, blob()))
    assert caught.value.exit_code == 90
    assert len(fake.requests) == 5
    assert waits


@pytest.mark.parametrize("wrong", [b"x" * len(DATA), DATA + b"x", DATA[:-1] + b"y"])
def test_wrong_bytes_are_an_error_after_the_last_chunk(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference, wrong: bytes
) -> None:
    fake.corrupt[fake.add_blob("team/app", DATA)] = wrong
    with pytest.raises(RegistryError) as caught:
        list(client.read_blob(ref, blob()))
    assert str(blob().digest) in caught.value.what


def test_a_blob_that_is_too_short_is_an_error(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference
) -> None:
    fake.corrupt[fake.add_blob("team/app", DATA)] = DATA[:-1]
    with pytest.raises(RegistryError):
        list(client.read_blob(ref, blob()))


def test_chunks_are_small(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    fake.add_blob("team/app", DATA)
    assert max(len(chunk) for chunk in client.read_blob(ref, blob())) <= 256 << 10


def test_a_reader_may_stop_early(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    fake.add_blob("team/app", DATA)
    chunks = client.read_blob(ref, blob())
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert b"".join(client.read_blob(ref, blob())) == DATA


def test_a_redirect_to_another_host_goes_without_the_login(waits: Waits) -> None:
    with fake_registry(auth="basic", users={"ann": "s3cret"}) as fake, fake_registry() as storage:
        ref = RegistryReference(registry=fake.host, repository="team/app")
        fake.add_blob("team/app", DATA)
        storage.add_blob("team/app", DATA)
        fake.redirect = f"http://{storage.host}"
        client = RegistryClient(credentials=Ann(), sleep=waits)
        assert b"".join(client.read_blob(ref, blob())) == DATA
        assert [row.headers.get("Authorization") is not None for row in fake.seen] == [False, True]
        assert [row.headers.get("Authorization") for row in storage.seen] == [None]


def test_a_redirect_in_a_circle_ends(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    fake.add_blob("team/app", DATA)
    fake.redirect = f"http://{fake.host}"
    with pytest.raises(RegistryError, match="circle"):
        list(client.read_blob(ref, blob()))


NO_ADDRESS = {"Location": "http://[::1"}


def test_a_redirect_to_what_is_no_address(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    fake.trouble("HEAD", "/manifests/", status=307, headers=NO_ADDRESS)
    with pytest.raises(RegistryError, match=r"sent on to what is no address: http://\[::1") as caught:
        client.head_manifest(ref.at(blob().digest))
    assert (caught.value.exit_code, caught.value.where.startswith("http://127.0.0.1")) == (90, True)


def test_an_upload_that_goes_on_at_what_is_no_address(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference
) -> None:
    fake.trouble("POST", "/uploads/", status=202, headers=NO_ADDRESS)
    with pytest.raises(RegistryError, match=r"cannot send .*: sent on to what is no address: http://\[::1"):
        client.push_blob(ref, blob(), content)


def test_a_refused_login_of_another_host_is_no_reason_to_send_ours(waits: Waits) -> None:
    with fake_registry() as fake, fake_registry(auth="basic") as storage:
        ref = RegistryReference(registry=fake.host, repository="team/app")
        fake.add_blob("team/app", DATA)
        fake.redirect = f"http://{storage.host}"
        with pytest.raises(Unauthorized):
            list(RegistryClient(credentials=Ann(), sleep=waits).read_blob(ref, blob()))
        assert [row.headers.get("Authorization") for row in storage.seen] == [None]


# manifests


def test_a_tag_is_resolved_once(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
    source = client.source(ref)
    first = source.resolve()
    fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST + b" ")
    assert source.resolve() == first
    assert source.manifest(first[0]) == MANIFEST
    assert fake.requests == ["GET /v2/team/app/manifests/1"]
    accepted = fake.seen[0].headers["Accept"].split(", ")
    assert set(accepted) == mediatype.INDEXES | mediatype.MANIFESTS


def test_a_manifest_must_have_its_digest(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    digest = fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
    fake.corrupt[digest] = MANIFEST.replace(b"{}", b"[]")
    with pytest.raises(RegistryError, match="expected sha256:") as caught:
        client.source(ref.at(Digest.parse(digest))).resolve()
    assert digest in caught.value.what
    # By tag, what counts is what came, whatever the header says.
    assert client.source(ref).resolve()[0].digest == Digest.of(fake.corrupt[digest])


def test_a_child_must_have_its_size(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    digest = fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
    row = Descriptor(media_type=mediatype.OCI_MANIFEST, digest=Digest.parse(digest), size=len(MANIFEST) + 1)
    with pytest.raises(RegistryError, match="bytes"):
        client.source(ref).manifest(row)


def test_a_manifest_that_is_too_large(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST + b" " * LIMIT)
    with pytest.raises(RegistryError, match="at most"):
        client.source(ref).resolve()
    with pytest.raises(RegistryError, match="registries take"):
        client.push_manifest(ref, mediatype.OCI_MANIFEST, b" " * (LIMIT + 1))
    big = Descriptor(media_type=mediatype.OCI_CONFIG, digest=Digest.of(b""), size=LIMIT + 1)
    with pytest.raises(RegistryError, match="at most"):
        client.source(ref).manifest(big)
    assert methods(fake) == ["GET"]


@pytest.mark.parametrize(
    ("header", "data", "says"),
    [
        (mediatype.OCI_INDEX, MANIFEST, "calls itself"),
        ("text/html", b"<html>", "not JSON"),
        ("application/json", b"{}", "neither"),
        (mediatype.OCI_MANIFEST, b"[]", "not a JSON object"),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b'{"schemaVersion":1}', "neither"),
    ],
)
def test_what_is_no_manifest(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference, header: str, data: bytes, says: str
) -> None:
    fake.add_manifest("team/app", "1", header, data)
    with pytest.raises(RegistryError, match=says):
        client.source(ref).resolve()
    # A tag of a registry may name anything, which is only looked for here.
    assert client.look_up(ref) == (Descriptor(media_type="", digest=Digest.of(data), size=len(data)), data)
    fake.digest_header = False
    with pytest.raises(RegistryError, match=says):
        client.look_up(ref)


def test_a_vague_content_type_is_made_up_for_by_the_manifest(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference
) -> None:
    fake.add_manifest("team/app", "1", "application/json; charset=utf-8", MANIFEST)
    assert client.source(ref).resolve()[0].media_type == mediatype.OCI_MANIFEST
    head = client.head_manifest(ref)
    assert head is not None
    assert head.digest == Digest.of(MANIFEST)


def test_a_registry_that_does_not_tell_the_digest(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference
) -> None:
    fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
    fake.digest_header = False
    head = client.head_manifest(ref)
    assert head is not None
    assert head.digest == Digest.of(MANIFEST)
    assert methods(fake) == ["HEAD", "GET"]
    assert client.head_manifest(ref.at(head.digest)) == head
    assert methods(fake) == ["HEAD", "GET", "HEAD"]


def test_a_manifest_whose_connection_breaks_is_read_again(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference
) -> None:
    fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
    fake.trouble("GET", "/manifests/", cut=7, times=2)
    assert client.source(ref).resolve()[1] == MANIFEST


# writing blobs


def content() -> io.BytesIO:
    return io.BytesIO(DATA)


@pytest.mark.parametrize("absolute", [True, False])
def test_three_requests_send_a_blob(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference, absolute: bool
) -> None:
    fake.absolute_location = absolute
    assert client.push_blob(ref, blob(), content)
    assert methods(fake) == ["HEAD", "POST", "PUT"]
    put = fake.seen[-1].headers
    assert (put["Content-Length"], put["Content-Type"]) == (str(len(DATA)), "application/octet-stream")
    assert "Transfer-Encoding" not in put
    assert client.has_blob(ref, blob().digest)
    assert not client.push_blob(ref, blob(), content)
    assert len(fake.requests) == 3


def test_one_request_mounts_a_blob(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    fake.add_blob("team/base", DATA)
    base = RegistryReference(registry=fake.host, repository="team/base")
    assert not client.push_blob(ref, blob(), lambda: pytest.fail("sent"), base)
    assert fake.requests == [f"POST /v2/team/app/blobs/uploads/?mount=sha256%3A{blob().digest.hex}&from=team%2Fbase"]


def test_a_refused_mount_becomes_an_upload(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    fake.mounts = False
    base = RegistryReference(registry=fake.host, repository="team/base")
    assert client.push_blob(ref, blob(), content, base)
    # The upload that the registry began in place of the mount is the one that is used.
    assert methods(fake) == ["POST", "HEAD", "PUT"]
    fake.forget()
    assert client.push_blob(ref, blob(b"next"), lambda: io.BytesIO(b"next"), base)
    assert methods(fake) == ["HEAD", "POST", "PUT"]
    assert not any("mount" in row for row in fake.requests)


def test_nothing_is_mounted_from_elsewhere(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    elsewhere = RegistryReference(registry="r.example.org", repository="team/base")
    assert client.push_blob(ref, blob(), content, elsewhere)
    assert methods(fake) == ["HEAD", "POST", "PUT"]


@pytest.mark.parametrize("status", [403, 404])
def test_a_mount_that_is_forbidden_is_no_failure(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference, status: int
) -> None:
    fake.trouble("POST", "mount=", status=status)
    base = RegistryReference(registry=fake.host, repository="team/base")
    assert client.push_blob(ref, blob(), content, base)
    assert methods(fake) == ["POST", "HEAD", "POST", "PUT"]


@pytest.mark.parametrize(
    "how",
    [
        {"status": 503},
        {"status": 500},
        {"status": 404},
        {"drop": True},
        {"status": 502, "headers": {"Retry-After": "7"}},
    ],
)
def test_an_upload_is_sent_again_from_the_beginning(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference, how: dict[str, object]
) -> None:
    opened = []

    def counted() -> io.BytesIO:
        opened.append(io.BytesIO(DATA))
        return opened[-1]

    fake.trouble("PUT", "/uploads/", times=2, **how)
    assert client.push_blob(ref, blob(), counted)
    assert fake.blobs["team/app"][str(blob().digest)] == DATA
    assert methods(fake) == ["HEAD", "POST", "PUT", "HEAD", "POST", "PUT", "HEAD", "POST", "PUT"]
    assert len(opened) == 3
    assert all(file.closed for file in opened)


def test_an_upload_whose_answer_is_lost_is_not_sent_again(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference
) -> None:
    fake.trouble("PUT", "/uploads/", drop=True, after=True)
    assert client.push_blob(ref, blob(), content)
    assert methods(fake) == ["HEAD", "POST", "PUT", "HEAD"]


def test_an_upload_is_not_tried_for_ever(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    fake.trouble("PUT", "/uploads/", status=503, times=99, body=b"busy")
    with pytest.raises(RegistryError, match="busy"):
        client.push_blob(ref, blob(), content)
    assert methods(fake).count("PUT") == 4


def test_the_upload_address_gets_the_login_only_at_home(waits: Waits) -> None:
    with fake_registry(auth="basic", users={"ann": "s3cret"}) as fake, fake_registry() as storage:
        ref = RegistryReference(registry=fake.host, repository="team/app")
        storage.uploads["x"] = "team/app"
        location = f"http://{storage.host}/v2/team/app/blobs/uploads/x?_state=a%2Fb"
        client = RegistryClient(credentials=Ann(), sleep=waits)
        client.has_blob(ref, blob().digest)
        fake.trouble("POST", "/uploads/", status=202, headers={"Location": location})
        assert client.push_blob(ref, blob(), content)
        assert [row.headers.get("Authorization") for row in storage.seen] == [None]
        assert str(blob().digest) in storage.blobs["team/app"]


def test_an_upload_without_an_address(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    fake.trouble("POST", "/uploads/", status=202)
    with pytest.raises(RegistryError, match="Location"):
        client.push_blob(ref, blob(), content)


def test_a_connection_is_used_again(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    """Whatever the answer: found, absent, sent, read, refused."""
    fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
    client.head_manifest(ref)
    client.source(ref).resolve()
    client.push_blob(ref, blob(), content)
    list(client.read_blob(ref, blob()))
    with pytest.raises(NotFound):
        client.read_manifest(ref.at(Digest.of(b"absent")))
    client.push_manifest(ref, mediatype.OCI_INDEX, b'{"manifests":[]}')
    assert len(fake.requests) == 8
    assert fake.connections == 1


# busy and unreachable registries


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_registry_is_asked_again(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference, waits: Waits, status: int
) -> None:
    fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
    fake.trouble("GET", "/manifests/", status=status, headers={"Retry-After": "3"}, times=2)
    assert client.source(ref).resolve()[1] == MANIFEST
    assert waits == [3.0, 3.0]


def test_without_a_wish_the_pauses_grow(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference, waits: Waits
) -> None:
    fake.trouble("GET", "/manifests/", status=503, times=9)
    with pytest.raises(RegistryError, match="503"):
        client.source(ref).resolve()
    assert waits == [0.5, 1.0, 2.0]
    assert len(fake.requests) == 4


@pytest.mark.parametrize(("after", "tries"), [("1", 4), ("3600", 1), ("", 4)])
def test_a_limit_that_lasts_is_an_error_of_its_own(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference, waits: Waits, after: str, tries: int
) -> None:
    fake.trouble("GET", "/manifests/", status=429, headers={"Retry-After": after}, times=9)
    with pytest.raises(RateLimited) as caught:
        client.source(ref).resolve()
    assert caught.value.exit_code == 93
    assert len(fake.requests) == tries
    assert sum(waits) <= 4


def test_a_dropped_connection_is_tried_again(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference
) -> None:
    fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
    client.head_manifest(ref)
    fake.trouble("GET", "/manifests/", drop=True, times=3)
    assert client.source(ref).resolve()[1] == MANIFEST


def test_a_registry_that_drops_the_very_first_request(
    fake: FakeRegistry, client: RegistryClient, ref: RegistryReference
) -> None:
    fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
    fake.trouble("GET", "/manifests/", drop=True)
    assert client.source(ref).resolve()[1] == MANIFEST


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        ("5", "", 5.0),
        ("Wed, 21 Oct 2015 07:28:10 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", 10.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:10 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "", None),
        ("soon", "", None),
        ("", "", None),
    ],
)
def test_retry_after(value: str, date: str, expected: float | None) -> None:
    assert retry_after(value, date) == expected


def test_nobody_there(waits: Waits) -> None:
    with fake_registry() as fake:
        host = fake.host
    with pytest.raises(RegistryError, match="refused") as caught:
        RegistryClient(sleep=waits).source(parse_registry(f"{host}/team/app:1")).resolve()
    assert type(caught.value) is RegistryError
    assert host in caught.value.what
    assert caught.value.__cause__ is None


def test_a_name_that_does_not_exist(waits: Waits) -> None:
    client = RegistryClient(sleep=waits)
    with pytest.raises(RegistryError, match=r"registry\.invalid"):
        client.source(parse_registry("registry.invalid/team/app:1")).resolve()


def test_errors_name_what_was_wanted(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    with pytest.raises(NotFound) as caught:
        client.source(ref).resolve()
    assert caught.value.what == f"cannot read {ref}: {fake.host} answered 404 (MANIFEST_UNKNOWN: manifest unknown)"
    assert caught.value.where == f"http://{fake.host}/v2/team/app/manifests/1"


def test_an_error_that_is_a_book(fake: FakeRegistry, client: RegistryClient, ref: RegistryReference) -> None:
    fake.trouble("GET", "/manifests/", status=400, body=b"\x1b[2J" + b"spam " * 200_000)
    with pytest.raises(RegistryError) as caught:
        client.source(ref).resolve()
    assert len(caught.value.what) < 500
    assert "\x1b" not in caught.value.what


def test_no_client_loads_urllib3_before_it_asks() -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from dpbuild.adapters.registry.client import RegistryClient\n"
        "from dpbuild.adapters.sink.registry import RegistrySink\n"
        "RegistryClient()\n"
        "print([name for name in ('urllib3', 'ssl', 'http.client', 'docker', 'email') if name in sys.modules])"
    )
    path = [row for row in sys.path if row.endswith("builder")]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": path[0]}
    )
    assert done.stdout.strip() == "[]"
