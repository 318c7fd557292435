"""Pushing: in the right order, with no request that could be saved, and nothing visible before all is there."""

import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from fakes.registry import FakeRegistry, fake_registry

from dpbuild.adapters.registry.client import RegistryClient
from dpbuild.adapters.registry.credentials import Credential
from dpbuild.adapters.sink.registry import RegistrySink
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import RegistryError, StoreError, Unauthorized, UsageError
from dpbuild.model.image import Image, Images
from dpbuild.oci import mediatype
from dpbuild.oci.codec import encode_index, encode_manifest
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Index, Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import ComposeReference, Reference, RegistryReference, parse_registry
from dpbuild.ports.reporter import Step
from dpbuild.stages.evidence.referrers import referrer

BASE = (b"base one", b"base two")
APP = (b"wheels", b"app")


class Recorder:
    """A Reporter that adds up."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.totals: list[int | None] = []
        self.amounts: list[int] = []
        self.results: list[str] = []
        self._lock = threading.Lock()

    @contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator[Step]:
        self.titles.append(title)
        self.totals.append(total)
        self.amounts.append(0)
        yield self

    def advance(self, amount: int) -> None:
        with self._lock:
            self.amounts[-1] += amount

    def done(self, result: str) -> None:
        self.results.append(result)

    def note(self, text: str) -> None:
        pass


def blob(data: bytes, media_type: str = mediatype.OCI_LAYER_GZIP) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))


class World:
    """Layers by digest, one registry, one client."""

    def __init__(self, fake: FakeRegistry) -> None:
        self.fake = fake
        self.layers: dict[Digest, bytes] = {}
        self.opened: list[bytes] = []
        self.reporter = Recorder()
        self.base: Reference = ComposeReference(suite="debian13")

    def image(self, *layers: bytes, architecture: str = "amd64") -> Image:
        self.layers.update({Digest.of(data): data for data in layers})
        config = json.dumps({"architecture": architecture, "os": "linux", "n": len(layers)}).encode()
        manifest = Manifest(
            media_type=mediatype.OCI_MANIFEST,
            config=blob(config, mediatype.OCI_CONFIG),
            layers=tuple(blob(data) for data in layers),
        )
        data = encode_manifest(manifest)
        platform = Platform("linux", architecture)
        return Image(
            platform=platform,
            descriptor=replace(blob(data, mediatype.OCI_MANIFEST), platform=platform),
            manifest=manifest,
            manifest_bytes=data,
            config_bytes=config,
            base=self.base,
            base_layers=len(BASE),
        )

    def single(self, *layers: bytes) -> Images:
        image = self.image(*(layers or BASE + APP))
        return Images(descriptor=replace(image.descriptor, platform=None), images=(image,))

    def double(self, *layers: bytes) -> Images:
        images = tuple(self.image(*(layers or BASE + APP), architecture=name) for name in ("amd64", "arm64"))
        index = Index(media_type=mediatype.OCI_INDEX, manifests=tuple(row.descriptor for row in images))
        data = encode_index(index)
        return Images(descriptor=blob(data, mediatype.OCI_INDEX), images=images, index_bytes=data)

    def open(self, descriptor: Descriptor) -> BinaryIO:
        data = self.layers[descriptor.digest]
        self.opened.append(data)
        return io.BytesIO(data)

    def tags(self, *names: str) -> tuple[RegistryReference, ...]:
        return tuple(parse_registry(f"{self.fake.host}/{name}") for name in names)

    def sink(
        self,
        *names: str,
        client: RegistryClient | None = None,
        threads: int = 4,
        store: DiskStore | None = None,
    ) -> RegistrySink:
        client = client or RegistryClient(sleep=lambda _: None)
        return RegistrySink(client, self.tags(*names), self.open, self.reporter, threads, store)

    def asked(self) -> list[str]:
        """Methods and what they were for, sorted: blobs go in parallel."""
        rows = []
        for row in self.fake.seen:
            kind = next((word for word in ("uploads", "blobs", "manifests", "token") if f"/{word}" in row.path), "")
            rows.append(f"{row.method} {kind}{' mount' if 'mount=' in row.query else ''}")
        self.fake.forget()
        return sorted(rows)


@pytest.fixture
def world() -> Iterator[World]:
    with fake_registry() as fake:
        yield World(fake)


def times(**counts: int) -> list[str]:
    names = {
        "find": "HEAD manifests",
        "look": "HEAD blobs",
        "begin": "POST uploads",
        "mount": "POST uploads mount",
        "send": "PUT uploads",
        "tag": "PUT manifests",
        "read": "GET manifests",
    }
    return sorted(names[key] for key, count in counts.items() for _ in range(count))


def test_a_new_image(world: World) -> None:
    images = world.single()
    written = world.sink("team/app:1").write(images)
    assert world.fake.manifests["team/app"]["1"] == (mediatype.OCI_MANIFEST, images.images[0].manifest_bytes)
    assert set(world.fake.blobs["team/app"].values()) == {*BASE, *APP, images.images[0].config_bytes}
    # Nobody asks for the config, which is this image's alone.
    assert world.asked() == times(find=1, look=4, begin=5, send=5, tag=1)
    assert written.kind == "registry"
    assert written.reference == f"{world.fake.host}/team/app@{images.descriptor.digest}"
    assert written.tags == (f"{world.fake.host}/team/app:1",)
    total = sum(map(len, (*BASE, *APP, images.images[0].config_bytes)))
    assert (written.sent, written.present) == (total, 0)
    assert (world.reporter.totals, world.reporter.amounts) == ([total], [total])


def test_an_image_that_is_there_costs_one_request_for_each_tag(world: World) -> None:
    images = world.single()
    world.sink("team/app:1", "team/app:2").write(images)
    world.asked()
    world.opened.clear()
    written = world.sink("team/app:1", "team/app:2").write(images)
    assert world.asked() == times(find=2)
    assert world.opened == []
    assert written.sent == 0
    assert written.present == world.reporter.amounts[-1] > 0
    assert world.reporter.results[-1] == "already there"


def test_check_costs_nothing_more(world: World) -> None:
    images = world.single()
    for known, expected in (
        (None, times(read=1, look=4, begin=5, send=5, tag=1)),
        (None, times(read=1)),
        (images, times(find=1)),
    ):
        sink = world.sink("team/app:1")
        # What is known needs to be found there, of what is to be made it is good to know what is there.
        sink.check(known)
        assert len(world.fake.requests) == 1
        sink.write(images)
        assert world.asked() == expected


def test_another_tag_of_what_is_there_is_one_put(world: World) -> None:
    images = world.double()
    world.sink("team/app:1").write(images)
    world.asked()
    world.sink("team/app:1", "team/app:2").write(images)
    assert world.asked() == times(find=2, tag=1)
    assert world.fake.manifests["team/app"]["2"] == (mediatype.OCI_INDEX, images.index_bytes)


def test_several_tags_send_everything_once(world: World) -> None:
    world.sink("team/app:1", "team/app:2", "team/app:1").write(world.single())
    assert world.asked() == times(find=2, look=4, begin=5, send=5, tag=2)


def test_one_changed_layer(world: World) -> None:
    """What the tag names now says what is there, so nothing is asked for; what is new is sent."""
    world.sink("team/app:1").write(world.single())
    world.asked()
    world.opened.clear()
    changed = world.single(*BASE, APP[0], b"another app")
    world.sink("team/app:1").write(changed)
    # The config of these images is the same; the manifest is not.
    assert world.asked() == times(find=1, read=1, begin=1, send=1, tag=1)
    assert world.opened == [b"another app"]


def test_one_changed_layer_of_two_platforms(world: World) -> None:
    world.sink("team/app:1").write(world.double())
    world.asked()
    world.sink("team/app:1").write(world.double(*BASE, APP[0], b"another app"))
    assert world.asked() == times(find=1, read=3, begin=1, send=1, tag=3)


def test_an_index(world: World) -> None:
    images = world.double()
    world.sink("team/app:1").write(images)
    # Layers that both platforms share are sent once; children go by digest, before the index.
    assert world.asked() == times(find=1, look=4, begin=6, send=6, tag=3)
    names = world.fake.manifests["team/app"]
    assert names["1"] == (mediatype.OCI_INDEX, images.index_bytes)
    assert all(str(image.descriptor.digest) in names for image in images.images)


def test_the_base_is_mounted(world: World) -> None:
    for data in BASE:
        world.fake.add_blob("distroless/python", data)
    world.base = parse_registry(f"{world.fake.host}/distroless/python:latest@sha256:{'0' * 64}")
    written = world.sink("team/app:1").write(world.single())
    assert world.asked() == times(find=1, mount=2, look=2, begin=3, send=3, tag=1)
    assert written.present == sum(map(len, BASE))
    assert not set(world.opened) & set(BASE)


def test_a_base_in_the_same_repository_is_not_asked_for(world: World) -> None:
    for data in BASE:
        world.fake.add_blob("team/app", data)
    world.base = parse_registry(f"{world.fake.host}/team/app:base")
    world.sink("team/app:1").write(world.single())
    assert world.asked() == times(find=1, begin=3, send=3, tag=1)


def test_a_base_elsewhere_is_sent(world: World) -> None:
    world.base = parse_registry("r.example.org/distroless/python:latest")
    world.sink("team/app:1").write(world.single())
    assert set(BASE) <= set(world.opened)


def test_a_second_repository_mounts_from_the_first(world: World) -> None:
    images = world.single()
    world.sink("team/app:1", "team/copy:1").write(images)
    assert world.asked() == times(find=2, look=4, begin=5, send=5, mount=5, tag=2)
    assert world.fake.blobs["team/app"] == world.fake.blobs["team/copy"]
    assert len(world.opened) == 4
    assert world.reporter.titles == [f"push {world.fake.host}/team/app", f"push {world.fake.host}/team/copy"]


WHEELS = bytes(range(256)) * 512
OTHER = bytes(range(255, -1, -1)) * 512


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    found = DiskStore(tmp_path / "store")
    yield found
    found.close()


def test_the_next_project_mounts_what_the_one_before_has_sent(world: World, store: DiskStore) -> None:
    """Large layers that another repository of the registry was seen to have; small ones are sent as fast."""
    world.sink("team/one:1", store=store).write(world.single(*BASE, WHEELS, b"one"))
    world.asked()
    written = world.sink("team/two:1", store=store).write(world.single(*BASE, WHEELS, b"two"))
    assert world.asked() == times(find=1, mount=1, look=3, begin=4, send=4, tag=1)
    assert written.present == len(WHEELS)
    assert world.opened.count(WHEELS) == 1
    # The second is a home for the third, with what the first does not have.
    world.sink("team/three:1", store=store).write(world.single(*BASE, OTHER, b"three"))
    world.asked()
    written = world.sink("team/four:1", store=store).write(world.single(*BASE, OTHER, WHEELS, b"four"))
    assert world.asked().count("POST uploads mount") == 2
    assert written.present == len(WHEELS) + len(OTHER)


def test_homes_that_are_gone_cost_nothing(world: World, store: DiskStore) -> None:
    world.sink("team/one:1", store=store).write(world.single(*BASE, WHEELS, b"one"))
    del world.fake.blobs["team/one"]
    world.asked()
    written = world.sink("team/two:1", store=store).write(world.single(*BASE, WHEELS, b"two"))
    # The upload that was begun in place of the mount is the one that is used.
    assert world.asked() == times(find=1, mount=1, look=4, begin=4, send=5, tag=1)
    assert written.sent > len(WHEELS)


def test_other_registries_are_no_homes(world: World, store: DiskStore) -> None:
    world.sink("team/one:1", store=store).write(world.single(*BASE, WHEELS))
    with fake_registry() as fake:
        other = World(fake)
        other.sink("team/two:1", store=store).write(other.single(*BASE, WHEELS))
        assert "POST uploads mount" not in other.asked()


def test_a_home_that_may_not_be_read_is_no_obstacle(store: DiskStore) -> None:
    """The token service refuses a token for both repositories; one for the own repository is good."""

    class Ann:
        def find(self, registry: str, repository: str) -> Credential | None:
            return Credential(origin="the test", username="ann", password="s3cret")

    with fake_registry(auth="token", users={"ann": "s3cret"}) as fake:
        world = World(fake)
        world.sink("team/one:1", client=RegistryClient(credentials=Ann()), store=store).write(
            world.single(*BASE, WHEELS)
        )
        fake.trouble("GET", r"/token", status=403)
        trouble = fake.troubles[-1]
        trouble.times = 0
        client = RegistryClient(credentials=Ann(), sleep=lambda _: None)
        sink = world.sink("team/two:1", client=client, store=store, threads=1)
        sink.check()
        # From now on the next token is refused, which is the one for the mount.
        trouble.times = 1
        sink.write(world.single(*BASE, WHEELS, b"two"))
        assert trouble.times == 0
        assert fake.blobs["team/two"].keys() >= {str(Digest.of(WHEELS))}


def test_layers_that_are_sent_ahead_cost_nothing_more(world: World) -> None:
    """The same requests as without, and the same account of them; nothing refers to a layer before the end."""
    images = world.single()
    plain = world.sink("team/plain:1").write(images)
    world.asked()
    sink = world.sink("team/app:1")
    sink.check()
    for data in APP:
        sink.ahead(blob(data))
    while not all(str(Digest.of(data)) in world.fake.blobs.get("team/app", {}) for data in APP):
        time.sleep(0.01)
    assert world.fake.manifests.get("team/app") is None
    written = sink.write(images)
    sink.close()
    assert world.asked() == times(read=1, look=4, begin=5, send=5, tag=1)
    assert (written.sent, written.present) == (plain.sent, plain.present)
    assert world.reporter.amounts == [plain.sent, plain.sent]


def told(images: Images) -> Images:
    """With one document of evidence."""
    text = b"evidence" * 20_000
    row = referrer(images.descriptor, text, "application/vnd.example+text", created="1970-01-01T00:00:00Z")
    return replace(images, referrers=(row,))


def test_configs_and_evidence_go_ahead_of_the_proof(world: World) -> None:
    """The same requests as without; no manifest is there before the end, and what the tag's image has is not sent."""

    for layers in (BASE + APP, (*BASE, b"new")):
        images = told(world.single(*layers))
        requests = []
        for name, early in (("plain", False), ("app", True)):
            sink = world.sink(f"team/{name}:1")
            sink.check()
            if early:
                sink.ahead_of(images)
                wanted = {
                    images.images[0].manifest.config.digest,
                    *(row.descriptor.digest for row in images.referrers[0].blobs),
                }
                while not {str(digest) for digest in wanted} <= world.fake.blobs.get(f"team/{name}", {}).keys():
                    time.sleep(0.01)
                assert str(images.descriptor.digest) not in world.fake.manifests.get(f"team/{name}", {})
            written = sink.write(images)
            sink.close()
            requests.append((world.asked(), written.sent, written.present))
        assert requests[0] == requests[1]
    # Nothing goes where the tag names the image already.
    sink = world.sink("team/app:1")
    sink.check()
    sink.ahead_of(images)
    assert sink._jobs == []
    sink.close()


def test_evidence_that_cannot_be_sent_ahead_is_sent_in_the_end(world: World) -> None:
    images = told(world.single())
    sink = world.sink("team/app:1", threads=1)
    sink.check()
    # The largest goes first.
    trouble = world.fake.trouble("POST", "/uploads/", status=400)
    sink.ahead_of(images)
    wait(sink._jobs)
    (document,) = (row.descriptor for row in images.referrers[0].blobs if row.descriptor.size > 2)
    assert trouble.times == 0
    assert str(document.digest) not in world.fake.blobs.get("team/app", {})
    sink.write(images)
    sink.close()
    assert str(document.digest) in world.fake.blobs["team/app"]
    assert world.fake.manifests["team/app"]["1"][1] == images.images[0].manifest_bytes


def test_evidence_that_is_on_its_way_is_given_up(world: World) -> None:
    started, goes_on = threading.Event(), threading.Event()

    def slow() -> bytes:
        started.set()
        goes_on.wait(10)
        return b"evidence" * 20_000

    images = told(world.single())
    (row,) = images.referrers
    blobs = tuple(replace(each, data=slow) if each.descriptor.size > 2 else each for each in row.blobs)
    sink = world.sink("team/app:1", threads=1)
    sink.check()
    sink.ahead_of(replace(images, referrers=(replace(row, blobs=blobs),)))
    assert started.wait(10)
    sink.close()
    goes_on.set()
    wait(sink._jobs, 10)
    assert not world.fake.blobs.get("team/app")


@pytest.mark.parametrize("kind", ["another tag", "index"])
def test_what_may_be_there_does_not_go_ahead(world: World, kind: str) -> None:
    images = told(world.single())
    world.sink("team/app:2").write(images if kind == "another tag" else world.double())
    sink = world.sink("team/app:1", "team/app:2") if kind == "another tag" else world.sink("team/app:2")
    sink.check()
    sink.ahead_of(images)
    assert sink._jobs == []
    sink.close()


def test_who_may_not_read_any_more_may_look(world: World) -> None:
    images = world.single()
    world.sink("team/app:1").write(images)
    world.asked()
    world.fake.trouble("GET", "/manifests/", status=429, times=4)
    sink = world.sink("team/app:1")
    sink.check()
    sink.write(images)
    sink.close()
    assert world.asked() == times(read=4, find=1)


def test_a_layer_that_cannot_be_sent_ahead_is_sent_with_the_others(world: World) -> None:
    world.fake.trouble("POST", "/uploads/", status=400)
    sink = world.sink("team/app:1", threads=1)
    for data in APP:
        sink.ahead(blob(data))
    images = world.single()
    written = sink.write(images)
    assert written.sent == sum(
        row.size for row in (*images.images[0].manifest.layers, images.images[0].manifest.config)
    )
    world.fake.trouble("POST", "/uploads/", status=400, times=99)
    sink = world.sink("team/other:1", threads=1)
    sink.ahead(blob(APP[0]))
    with pytest.raises(RegistryError, match="cannot send"):
        sink.write(images)
    assert "team/other" not in world.fake.manifests


def test_layers_of_the_base_go_ahead_to_a_tag_that_is_new(world: World) -> None:
    """They are mounted where the base is in the same registry; the same requests as without."""
    (world.base,) = world.tags("bases/python:3")
    for data in BASE:
        world.fake.add_blob("bases/python", data)
    images = world.single()
    sink = world.sink("team/app:1")
    sink.check()
    # Each platform's base tells its layers; they are sent, and counted, once.
    for data in (*BASE, *BASE):
        sink.ahead(blob(data), world.base)
    while not all(str(Digest.of(data)) in world.fake.blobs.get("team/app", {}) for data in BASE):
        time.sleep(0.01)
    written = sink.write(images)
    sink.close()
    early = world.asked()
    assert sum("mount" in row for row in early) == len(BASE)
    assert not set(BASE) & set(world.opened)
    plain = world.sink("team/plain:1")
    plain.check()
    alone = plain.write(images)
    assert (written.sent, written.present) == (alone.sent, alone.present)
    assert world.asked() == early


def test_layers_of_the_base_are_not_asked_for_ahead_where_the_tag_is_known(world: World) -> None:
    (world.base,) = world.tags("team/base:3")
    world.sink("team/app:1").write(world.single())
    world.asked()
    sink = world.sink("team/app:1")
    sink.check()
    for data in BASE:
        sink.ahead(blob(data), world.base)
    # What the tag names is asked for once, and not again in the end.
    sink.write(world.single(*BASE, APP[0], b"new"))
    assert world.asked().count("GET manifests") == 1
    # Of the same repository, it is there.
    same = world.sink("team/base:new")
    same.check()
    same.ahead(blob(BASE[0]), world.base)
    sink.close()
    same.close()
    assert world.asked() == ["GET manifests"]


def test_layers_that_go_ahead_where_the_tag_is_known(world: World) -> None:
    """Of those made meanwhile, what the tag's image has is not asked for, nor what is small and new; what is large and
    new may be there from an image before.
    """
    world.sink("team/app:1").write(world.single())
    world.asked()
    images = world.single(*BASE, APP[0], WHEELS, b"small and new")
    sink = world.sink("team/app:1")
    sink.check()
    sink.ahead(blob(BASE[0]), world.base)
    for data in (APP[0], WHEELS, b"small and new"):
        sink.ahead(blob(data))
    written = sink.write(images)
    sink.close()
    assert world.asked() == times(read=1, look=1, begin=3, send=3, tag=1)
    config = images.images[0].manifest.config
    assert written.sent == len(WHEELS) + len(b"small and new") + config.size
    assert written.present == sum(map(len, (*BASE, APP[0])))
    assert world.reporter.amounts[-1] == world.reporter.totals[-1] == written.sent + written.present


def test_what_a_tag_names_is_read_when_it_was_only_looked_for(world: World) -> None:
    """The images were known, and the tag names others; or it is gone by now, which takes nothing away."""
    world.sink("team/app:1").write(world.single())
    images = world.single(*BASE, APP[0], b"new")
    sink = world.sink("team/app:1")
    sink.check(images)
    world.asked()
    sink.write(images)
    assert world.asked() == times(read=1, begin=1, send=1, tag=1)
    sink = world.sink("team/app:1")
    others = world.single(*BASE, APP[0], b"newer")
    sink.check(others)
    del world.fake.manifests["team/app"]["1"]
    sink.write(others)
    assert world.fake.manifests["team/app"]["1"][1] == others.images[0].manifest_bytes


def test_layers_that_go_ahead_wait_for_nothing_behind_them(world: World) -> None:
    world.sink("team/app:1").write(world.single())
    images, opened, goes_on = world.single(*BASE, b"one", b"two"), threading.Event(), threading.Event()

    def slow(descriptor: Descriptor) -> BinaryIO:
        opened.set()
        goes_on.wait(10)
        return io.BytesIO(world.layers[descriptor.digest])

    world.open = slow  # type: ignore[method-assign]
    sink = world.sink("team/app:1", threads=1)
    sink.check()
    sink.ahead(blob(b"one"))
    assert opened.wait(10)
    sink.ahead(blob(b"two"))
    sink.ahead(blob(BASE[0]), world.base)
    goes_on.set()
    assert not wait(sink._jobs, 10).not_done
    sink.write(images)
    sink.close()
    assert world.fake.manifests["team/app"]["1"][1] == images.images[0].manifest_bytes


def test_layers_that_go_ahead_to_a_tag_of_another_kind(world: World) -> None:
    """An index, or no image at all, tells of no layers; these are asked for as ever."""
    for name, media_type in (("index", mediatype.OCI_INDEX), ("odd", mediatype.OCI_MANIFEST)):
        world.fake.add_manifest(f"team/{name}", "1", media_type, b'{"schemaVersion": 2, "manifests": []}')
        sink = world.sink(f"team/{name}:1")
        sink.check()
        sink.ahead(blob(BASE[0]), world.base)
        images = world.single()
        sink.ahead(blob(APP[1]))
        sink.write(images)
        sink.close()
        assert world.asked() == times(read=1, look=4, begin=5, send=5, tag=1)


def test_an_image_that_is_never_written_is_given_up_at_once(world: World) -> None:
    big = b"b" * 50_000_000
    images = world.single(big)
    started, waiting = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            started.set()
            waiting.wait(10)
            return super().read(size)

    world.open = lambda descriptor: Slow(big)  # type: ignore[method-assign]
    sink = world.sink("team/app:1")
    sink.ahead(images.images[0].manifest.layers[0])
    assert started.wait(10)
    sink.close()
    waiting.set()
    for job in sink._jobs:
        job.result(10)
    assert not world.fake.blobs.get("team/app")


@pytest.mark.parametrize("status", [400, 404])
def test_a_registry_that_lost_a_blob(world: World, status: int) -> None:
    """It has the manifest that a tag names, but not all of its blobs: found out when the new one is refused."""
    world.fake.incomplete = status
    world.sink("team/app:1").write(world.single())
    del world.fake.blobs["team/app"][str(Digest.of(BASE[0]))]
    world.asked()
    images = world.single(*BASE, APP[0], b"another app")
    world.sink("team/app:1").write(images)
    assert world.fake.manifests["team/app"]["1"][1] == images.images[0].manifest_bytes
    assert world.fake.blobs["team/app"][str(Digest.of(BASE[0]))] == BASE[0]
    assert world.fake.count("PUT", "/manifests/") == 2


def test_a_registry_that_lost_a_blob_gets_it_once_for_all_tags(world: World) -> None:
    """A single thread is enough: nothing that waits for others takes one from them."""
    world.sink("team/app:1").write(world.single())
    del world.fake.blobs["team/app"][str(Digest.of(BASE[0]))]
    world.asked()
    images = world.single(*BASE, APP[0], b"another app")
    world.sink("team/app:1", "team/app:2", "team/app:3", threads=1).write(images)
    names = world.fake.manifests["team/app"]
    assert [names[tag][1] for tag in "123"] == [images.images[0].manifest_bytes] * 3
    # One more than there are tags. What is sent is new, or was lost, or is the config, for which nobody asks.
    assert world.fake.count("PUT", "/manifests/") == 4
    assert world.fake.count("PUT", "/uploads/") == 3


def test_a_registry_that_lost_a_blob_of_an_index(world: World) -> None:
    world.sink("team/app:1").write(world.double())
    del world.fake.blobs["team/app"][str(Digest.of(BASE[0]))]
    images = world.double(*BASE, APP[0], b"another app")
    world.sink("team/app:1").write(images)
    assert world.fake.manifests["team/app"]["1"][1] == images.index_bytes


def test_what_is_tagged_there_may_be_anything(world: World) -> None:
    world.fake.add_manifest("team/app", "1", "application/json", b'{"schemaVersion": 1}')
    images = world.single()
    world.sink("team/app:1").write(images)
    assert world.asked() == times(find=1, look=4, begin=5, send=5, tag=1)
    assert world.fake.manifests["team/app"]["1"][1] == images.images[0].manifest_bytes


def test_what_calls_itself_an_image_may_be_broken(world: World) -> None:
    world.fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, b'{"schemaVersion": 2}')
    images = world.single()
    world.sink("team/app:1").write(images)
    assert world.fake.manifests["team/app"]["1"][1] == images.images[0].manifest_bytes


def test_the_tag_moves_last(world: World) -> None:
    world.fake.trouble("PUT", "/uploads/", status=400, times=99)
    with pytest.raises(RegistryError):
        world.sink("team/app:1").write(world.double())
    assert world.fake.manifests == {}
    assert world.fake.count("PUT", "/manifests/") == 0


def test_the_first_failure_ends_everything(world: World) -> None:
    """A layer that cannot be opened: its own error comes out, and not every other layer is still sent."""
    layers = [f"layer {number}".encode() for number in range(60)]
    images = world.single(*layers)

    def fail(descriptor: Descriptor) -> BinaryIO:
        raise StoreError("the disk is gone")

    world.open = fail  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="disk is gone"):
        world.sink("team/app:1", threads=1).write(images)
    assert world.fake.count("POST") < 10


def test_a_big_layer_under_way_is_given_up(world: World) -> None:
    big, bad = b"b" * 50_000_000, b"bad"
    images = world.single(big, bad)
    started = threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            started.set()
            failed.wait(5)
            return super().read(size)

    failed = threading.Event()

    def opened(descriptor: Descriptor) -> BinaryIO:
        if descriptor.size > 1000:
            return Slow(big)
        started.wait(5)
        threading.Timer(0.2, failed.set).start()
        raise StoreError("the disk is gone")

    world.open = opened  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        world.sink("team/app:1").write(images)
    assert str(Digest.of(big)) not in world.fake.blobs.get("team/app", {})


def test_progress_does_not_count_twice(world: World) -> None:
    world.fake.trouble("PUT", "/uploads/", status=503, times=2)
    world.sink("team/app:1").write(world.single())
    assert world.reporter.amounts == world.reporter.totals


def test_no_tag_is_named(world: World) -> None:
    with pytest.raises(UsageError):
        world.sink().check()


def test_a_name_without_a_tag_is_latest(world: World) -> None:
    written = world.sink("team/app").write(world.single())
    assert written.tags == (f"{world.fake.host}/team/app:latest",)
    assert "latest" in world.fake.manifests["team/app"]


def test_a_wrong_password_shows_before_anything_is_built() -> None:
    class Wrong:
        def find(self, registry: str, repository: str) -> Credential | None:
            return Credential(origin="the test", username="ann", password="hunter2")

    with fake_registry(auth="basic", users={"ann": "s3cret"}) as fake:
        world = World(fake)
        with pytest.raises(Unauthorized):
            world.sink("team/app:1", client=RegistryClient(credentials=Wrong())).check()
        assert len(fake.requests) == 2


def test_tokens_are_few() -> None:
    class Ann:
        def find(self, registry: str, repository: str) -> Credential | None:
            return Credential(origin="the test", username="ann", password="s3cret")

    with fake_registry(auth="token", users={"ann": "s3cret"}) as fake:
        world = World(fake)
        images = world.single()
        world.sink("team/app:1", client=RegistryClient(credentials=Ann())).write(images)
        # One to look, one to write, whatever the number of threads; and one refusal that told how.
        assert fake.count("GET", "/token") == 2
        fake.forget()
        world.sink("team/app:1", client=RegistryClient(credentials=Ann())).write(images)
        assert world.asked() == ["GET token", "HEAD manifests", "HEAD manifests"]
