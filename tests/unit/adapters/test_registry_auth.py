"""Logins: challenges, scopes, tokens that end, and what is asked how often."""

import base64
import io
from dataclasses import dataclass
from urllib.parse import parse_qs

import pytest
from fakes.registry import FakeRegistry, fake_registry

from dpbuild.adapters.registry.auth import Challenge, challenges, covers
from dpbuild.adapters.registry.client import RegistryClient
from dpbuild.adapters.registry.credentials import Credential
from dpbuild.errors import RegistryError, Unauthorized
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import RegistryReference

TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = b'{"config":{},"layers":[],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}'


class Credentials:
    """Counts how often it is asked."""

    def __init__(self, *found: Credential) -> None:
        self.found = found
        self.asked = 0

    def find(self, registry: str, repository: str) -> Credential | None:
        self.asked += 1
        return self.found[0] if self.found else None


ANN = Credential(origin="the test", username="ann", password="s3cret")


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def ref(fake: FakeRegistry, repository: str = "team/app") -> RegistryReference:
    return RegistryReference(registry=fake.host, repository=repository, tag="1")


def made(fake: FakeRegistry, *credentials: Credential, clock: Clock | None = None) -> RegistryClient:
    return RegistryClient(
        credentials=Credentials(*credentials),
        clock=clock or Clock(),
        sleep=lambda _: pytest.fail("waited"),
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a, b=c"', [("basic", {"realm": "a, b=c"})]),
        (
            'Bearer realm="https://a/t",service=x, scope="repository:a:pull,push"',
            [("bearer", {"realm": "https://a/t", "service": "x", "scope": "repository:a:pull,push"})],
        ),
        (
            'Negotiate, BEARER Realm="q\\"q", Basic realm=z',
            [("negotiate", {}), ("bearer", {"realm": 'q"q'}), ("basic", {"realm": "z"})],
        ),
        ('Bearer realm = "x"', [("bearer", {"realm": "x"})]),
        ('"', []),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert challenges(header) == [Challenge(scheme=name, parameters=tuple(rows.items())) for name, rows in expected]


@pytest.mark.parametrize(
    ("have", "want", "expected"),
    [
        ({"repository:a:pull"}, {"repository:a:pull"}, True),
        ({"repository:a:pull,push"}, {"repository:a:pull"}, True),
        ({"repository:a:pull"}, {"repository:a:pull,push"}, False),
        ({"repository:a:pull,push", "repository:b:pull"}, {"repository:b:pull", "repository:a:push"}, True),
        ({"repository:a:pull"}, {"repository:b:pull"}, False),
        (set(), set(), True),
        ({"repository:h:5000/a:pull"}, {"repository:h:5000/a:pull"}, True),
    ],
)
def test_what_a_token_is_good_for(have: set[str], want: set[str], expected: bool) -> None:
    assert covers(frozenset(have), frozenset(want)) is expected


def test_an_open_registry_is_never_told_who_asks() -> None:
    with fake_registry() as fake:
        fake.add_manifest("team/app", "1", TYPE, MANIFEST)
        credentials = Credentials(ANN)
        RegistryClient(credentials=credentials).source(ref(fake)).resolve()
        assert credentials.asked == 0
        assert fake.requests == ["GET /v2/team/app/manifests/1"]
        assert "Authorization" not in fake.seen[0].headers


def test_basic_is_asked_for_once() -> None:
    with fake_registry(auth="basic", users={"ann": "s3cret"}) as fake:
        fake.add_manifest("team/app", "1", TYPE, MANIFEST)
        client = made(fake, ANN)
        for _ in range(3):
            assert client.head_manifest(ref(fake)) is not None
        sent = [row.headers.get("Authorization") for row in fake.seen]
        basic = "Basic " + base64.b64encode(b"ann:s3cret").decode()
        assert sent == [None, basic, basic, basic]


def test_a_token_serves_every_request_of_its_scope() -> None:
    with fake_registry(auth="token", users={"ann": "s3cret"}) as fake:
        fake.add_manifest("team/app", "1", TYPE, MANIFEST)
        client = made(fake, ANN)
        for _ in range(3):
            client.head_manifest(ref(fake))
        assert [row.partition("?")[0] for row in fake.requests] == [
            "HEAD /v2/team/app/manifests/1",
            "GET /token",
            *["HEAD /v2/team/app/manifests/1"] * 3,
        ]
        asked = parse_qs(fake.seen[1].query)
        assert asked == {"service": ["fake"], "scope": ["repository:team/app:pull"], "account": ["ann"]}


def test_another_repository_costs_a_token_but_no_refusal() -> None:
    with fake_registry(auth="token", anonymous_pull=True) as fake:
        client = made(fake)
        for repository in ("team/app", "team/other", "team/app"):
            client.head_manifest(ref(fake, repository))
        assert fake.count("GET", "/token") == 2
        assert fake.count("HEAD") == 4
        assert "Authorization" not in next(row.headers for row in fake.seen if row.path == "/token")


def test_a_pushed_blob_takes_one_token_for_both_rights() -> None:
    data = b"data"
    row = Descriptor(media_type="", digest=Digest.of(data), size=4)
    with fake_registry(auth="token", users={"ann": "s3cret"}) as fake:
        client = made(fake, ANN)
        other = ref(fake, "team/other")
        client.push_blob(ref(fake), row, lambda: io.BytesIO(data), other)
        client.push_manifest(ref(fake), TYPE, b"{}")
        tokens = [parse_qs(seen.query)["scope"] for seen in fake.seen if seen.path == "/token"]
        assert tokens == [["repository:team/app:pull,push", "repository:team/other:pull"]]


def test_a_token_that_ends_is_renewed_before_it_does() -> None:
    clock = Clock()
    with fake_registry(auth="token", anonymous_pull=True, token_lifetime=60) as fake:
        client = made(fake, clock=clock)
        client.head_manifest(ref(fake))
        clock.now += 50
        client.head_manifest(ref(fake))
        assert fake.count("GET", "/token") == 1
        clock.now += 6
        client.head_manifest(ref(fake))
        assert fake.count("GET", "/token") == 2
        # The first request was refused because nobody had said anything about tokens; no other was.
        assert fake.count("HEAD") == 4


def test_a_token_that_is_refused_in_the_middle_is_renewed() -> None:
    with fake_registry(auth="token", users={"ann": "s3cret"}, token_lifetime=None) as fake:
        client = made(fake, ANN)
        data = b"data" * 1000
        row = Descriptor(media_type="", digest=Digest.of(data), size=len(data))
        fake.trouble(
            "PUT", "/uploads/", status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{fake.host}/token"'}
        )
        assert client.push_blob(ref(fake), row, lambda: io.BytesIO(data))
        assert fake.blobs["team/app"][str(row.digest)] == data
        fake.revoke()
        assert client.head_manifest(ref(fake)) is None
        assert fake.count("PUT") == 2


def test_an_identity_token_is_exchanged() -> None:
    with fake_registry(auth="token", identities={"refresh-me": "ann"}) as fake:
        client = made(fake, Credential(origin="the test", identity_token="refresh-me"))
        assert client.head_manifest(ref(fake)) is None
        post = next(row for row in fake.seen if row.path == "/token")
        assert post.method == "POST"
        assert parse_qs(post.body.decode()) == {
            "grant_type": ["refresh_token"],
            "service": ["fake"],
            "client_id": ["dpbuild"],
            "scope": ["repository:team/app:pull"],
            "refresh_token": ["refresh-me"],
        }


def test_a_registry_token_is_sent_as_it_is() -> None:
    with fake_registry(auth="token", users={"ann": "s3cret"}) as fake:
        giver = made(fake, Credential(origin="the test", username="ann", password="s3cret"))
        assert giver.head_manifest(ref(fake)) is None
        (given,) = {
            row.headers["Authorization"]
            for row in fake.seen
            if row.headers.get("Authorization", "").startswith("Bearer")
        }
        asked = fake.count("GET", "/token")
        client = made(fake, Credential(origin="the test", registry_token=given.removeprefix("Bearer ")))
        assert client.head_manifest(ref(fake)) is None
        assert fake.count("GET", "/token") == asked


def test_a_registry_token_that_is_refused_is_not_shown_and_not_tried_again() -> None:
    with fake_registry(auth="token", users={"ann": "s3cret"}) as fake:
        client = made(fake, Credential(origin="~/.docker/config.json", registry_token="hunter2"))
        with pytest.raises(Unauthorized) as caught:
            client.head_manifest(ref(fake))
        text = f"{caught.value} {caught.value.hint}"
        assert "hunter2" not in text
        assert "~/.docker/config.json" in text
        assert fake.count("GET", "/token") == 0
        assert fake.count("HEAD") == 2


def test_a_wrong_password_is_tried_once() -> None:
    wrong = Credential(origin="~/.docker/config.json", username="ann", password="hunter2")
    with fake_registry(auth="token", users={"ann": "s3cret"}) as fake:
        client = made(fake, wrong)
        for _ in range(3):
            with pytest.raises(Unauthorized) as caught:
                client.head_manifest(ref(fake))
        assert fake.count("GET", "/token") == 1
        text = f"{caught.value} {caught.value.hint}"
        assert "~/.docker/config.json" in text
        assert fake.host in text
        # The fake repeats the whole header in its answer.
        assert "hunter2" not in text
        assert base64.b64encode(b"ann:hunter2").decode() not in text


def test_a_token_that_never_helps_is_no_endless_game() -> None:
    with fake_registry(auth="token", anonymous_pull=True) as fake:
        # Rights to read only: pushing is refused however often a token is fetched.
        client = made(fake)
        with pytest.raises(Unauthorized, match="no credentials"):
            client.push_manifest(ref(fake), TYPE, b"{}")
        assert fake.count("PUT") == 2


def test_what_a_registry_asks_for_beyond_the_usual_is_added() -> None:
    with fake_registry(auth="token", anonymous_pull=True) as fake:
        challenge = f'Bearer realm="http://{fake.host}/token",scope="repository:team/app:pull registry:extra:*"'
        fake.trouble("HEAD", "/manifests/", status=401, headers={"WWW-Authenticate": challenge})
        made(fake).head_manifest(ref(fake))
        scopes = parse_qs(next(row.query for row in fake.seen if row.path == "/token"))["scope"]
        assert scopes == ["registry:extra:*", "repository:team/app:pull"]


@pytest.mark.parametrize(
    "realm", ["http://tokens.example.org/token", "ftp://tokens.example.org", "tokens", "file:///etc/passwd"]
)
def test_tokens_are_not_fetched_from_anywhere(realm: str) -> None:
    with fake_registry(auth="token", users={"ann": "s3cret"}, realm=realm) as fake:
        with pytest.raises(RegistryError, match="must not be asked"):
            made(fake, ANN).head_manifest(ref(fake))
        assert len(fake.requests) == 1


def test_a_token_service_that_is_no_address() -> None:
    with fake_registry(auth="token", users={"ann": "s3cret"}, realm="http://[::1") as fake:
        with pytest.raises(RegistryError, match=r"names a token service that is no address: http://\[::1") as caught:
            made(fake, ANN).head_manifest(ref(fake))
        assert (caught.value.exit_code, len(fake.requests)) == (90, 1)


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\r\\nX: y"}', b'{"token":"t","expires_in":"x"}']
)
def test_an_answer_that_is_no_token(answer: bytes) -> None:
    with fake_registry(auth="token", anonymous_pull=True) as fake:
        fake.trouble("GET", "/token", status=200, body=answer)
        with pytest.raises(RegistryError, match="gave no token"):
            made(fake).head_manifest(ref(fake))


@pytest.mark.parametrize("challenge", ["Negotiate", 'Digest realm="x"', "Bearer service=x"])
def test_a_login_of_another_kind(challenge: str) -> None:
    with fake_registry() as fake:
        fake.trouble("HEAD", "/v2/", status=401, headers={"WWW-Authenticate": challenge})
        with pytest.raises(RegistryError, match="not known here"):
            made(fake, ANN).head_manifest(ref(fake))
