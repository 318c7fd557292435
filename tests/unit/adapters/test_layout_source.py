"""Reading OCI layouts: which image is meant, and that nothing unverified comes out."""

import json
import tarfile
from pathlib import Path

import pytest
from factories.image import Layout, make_image, on, tagged

from dpbuild.adapters.source.layout import LayoutSource
from dpbuild.errors import BaseImageError, NotFound
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.mediatype import OCI_INDEX
from dpbuild.oci.reference import LayoutReference


def source(path: Path, tag: str | None = None, digest: Digest | None = None) -> LayoutSource:
    return LayoutSource(LayoutReference(path=str(path), tag=tag, digest=digest))


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Descriptor, Descriptor]:
    """A layout with the tags ``one`` and ``two``, the second as some writers spell it."""
    layout = Layout(tmp_path)
    first, _ = layout.image({"a": "1"})
    second, _ = layout.image({"a": "2"})
    layout.finish((first, tagged("one")), (second, tagged("registry.example/app:two")))
    return tmp_path, first, second


def test_the_only_image_needs_no_name(tmp_path: Path) -> None:
    image = make_image(tmp_path, {"a": "x"})

    descriptor, data = source(tmp_path).resolve()

    assert descriptor.digest == image.root.digest == Digest.of(data)


def test_a_tag_chooses(two: tuple[Path, Descriptor, Descriptor]) -> None:
    path, first, second = two

    assert source(path, "one").resolve()[0].digest == first.digest
    assert source(path, "two").resolve()[0].digest == second.digest
    with pytest.raises(NotFound, match="has no 'three', but one, two"):
        source(path, "three").resolve()


def test_several_images_are_not_guessed_at(two: tuple[Path, Descriptor, Descriptor]) -> None:
    with pytest.raises(BaseImageError, match=r"has 2 images \(one, two\)"):
        source(two[0]).resolve()


def test_a_digest_chooses_also_inside_of_an_index(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    manifest, layers = layout.image({"a": "1"})
    index = layout.index((manifest, on("linux/amd64")))
    layout.finish((index, tagged("latest")))

    assert source(tmp_path, digest=index.digest).resolve()[0].media_type == OCI_INDEX
    assert source(tmp_path, digest=manifest.digest).resolve()[0] == Descriptor(
        media_type=manifest.media_type, digest=manifest.digest, size=manifest.size
    )
    with pytest.raises(NotFound, match="the layout has no sha256:000"):
        source(tmp_path, digest=Digest("0" * 64)).resolve()
    with pytest.raises(BaseImageError, match="is no manifest"):
        source(tmp_path, digest=layers[0].digest).resolve()


def test_platforms_side_by_side_are_one_image(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    rows = [(layout.image({"a": name}, platform=name)[0], on(name)) for name in ("linux/amd64", "linux/arm64")]
    layout.finish(*rows)

    descriptor, data = source(tmp_path).resolve()

    assert descriptor.media_type == OCI_INDEX
    assert data == (tmp_path / "index.json").read_bytes()


@pytest.mark.parametrize("change", ["longer", "shorter", "other", "gone"])
def test_a_blob_is_verified_to_its_end(change: str, tmp_path: Path) -> None:
    image = make_image(tmp_path, {"a": "x" * 5000})
    path = image.blob(image.layers[0])
    data = path.read_bytes()
    match change:
        case "longer":
            path.write_bytes(data + b"x")
        case "shorter":
            path.write_bytes(data[:-1])
        case "other":
            path.write_bytes(data[:-1] + bytes((data[-1] ^ 1,)))
        case "gone":
            path.unlink()

    with pytest.raises(NotFound if change == "gone" else BaseImageError, match=image.layers[0].digest.hex):
        list(source(tmp_path).blob(image.layers[0]))


def test_a_changed_manifest_is_noticed(tmp_path: Path) -> None:
    image = make_image(tmp_path, {"a": "x"})
    path = image.blob(image.root)
    path.write_bytes(path.read_bytes().replace(b"schemaVersion", b"schemaversion"))

    with pytest.raises(BaseImageError, match="is damaged"):
        source(tmp_path).resolve()


def test_what_is_resolved_is_remembered(tmp_path: Path) -> None:
    make_image(tmp_path, {"a": "x"})
    opened = source(tmp_path)
    first = opened.resolve()
    (tmp_path / "index.json").unlink()

    assert opened.resolve() == first
    assert opened.manifest(first[0]) == first[1]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "there is no OCI layout: oci-layout is missing"),
        ({"oci-layout": "{}"}, "unknown version None"),
        ({"oci-layout": '{"imageLayoutVersion":"1.0.0"}'}, r"index\.json is missing"),
        ({"oci-layout": '{"imageLayoutVersion":"1.0.0"}', "index.json": "["}, "is not JSON"),
        ({"oci-layout": '{"imageLayoutVersion":"1.0.0"}', "index.json": '{"manifests":[]}'}, "is empty"),
        ({"oci-layout": '{"imageLayoutVersion":"1.0.0"}', "index.json": '{"manifests":[{"size":1}]}'}, "mediaType"),
    ],
)
def test_what_is_no_layout(files: dict[str, str], said: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises((NotFound, BaseImageError), match=said) as problem:
        source(tmp_path).resolve()

    assert problem.value.where == f"oci:{tmp_path}"


def test_a_folder_that_is_not_there_is_92(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is nothing of this name") as problem:
        source(tmp_path / "nothing").resolve()

    assert problem.value.exit_code == 92


def test_a_project_and_an_archive_are_no_layouts_and_said_so(tmp_path: Path) -> None:
    make_image(tmp_path / ".dpbuild" / "image", {"a": "x"})
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        tar.add(tmp_path / ".dpbuild" / "image", ".")
    for name, said in ((".", f"oci:{tmp_path}/.dpbuild/image"), ("image.tar", f"oci-archive:{tmp_path}/image.tar")):
        with pytest.raises(NotFound, match="oci-layout is missing") as problem:
            source(tmp_path / name).resolve()

        assert problem.value.hint == f"say {said}"


def test_a_config_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    image = make_image(tmp_path, {"a": "x"})
    large = Descriptor(media_type="x", digest=image.root.digest, size=1 << 40)

    with pytest.raises(BaseImageError, match="too many for a manifest"):
        source(tmp_path).manifest(large)


def test_an_index_json_with_a_digest_of_another_algorithm_is_an_error_and_not_a_path(tmp_path: Path) -> None:
    make_image(tmp_path, {"a": "x"})
    index = json.loads((tmp_path / "index.json").read_text())
    index["manifests"][0]["digest"] = "sha256:../../../../etc/passwd"
    (tmp_path / "index.json").write_text(json.dumps(index))

    with pytest.raises(BaseImageError, match="not a sha256 digest"):
        source(tmp_path).resolve()
