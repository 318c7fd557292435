"""What pip in a builder must do: the fake one, and the real one in a composed base with an index on loopback."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from factories.facts import make_target
from factories.wheel import make_wheel
from fakes.index import Index, serve_index
from fakes.pip import FakePip
from machinery import ComposedBase

from dpbuild.ports.pip import NoSolution, Pin, Pip
from dpbuild.ports.resolver import ResolveRequest
from dpbuild.pypa.metadata import Metadata

TARGET = make_target("3.13.5")
WHEELS = (
    ("app", "1.0", "py3-none-any", ("native>=1", 'tomli; python_version < "3.12"')),
    ("native", "1.0", "cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64", ()),
    ("native", "1.0", "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", ()),
    ("native", "1.1", "cp313-cp313-win_amd64", ()),
    ("pure", "1.0", "py3-none-any", ()),
    ("pure", "2.0", "py3-none-any", ()),
)


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    with serve_index() as served:
        for name, version, tag, requires in WHEELS:
            served.add(make_wheel(name, version, tag, requires=requires))
        served.add_sdist("source", "1.0")
        served.add_sdist("native", "1.0")
        yield served


@pytest.fixture(scope="module")
def real(
    index: Index,
    composed_base: Callable[[str], ComposedBase],
    need: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Pip:
    need("bubblewrap")
    import os

    from dpbuild.adapters.backend import Outside
    from dpbuild.adapters.pip_builder import Builder, BuilderPip
    from dpbuild.adapters.pip_settings import HostIndexes
    from dpbuild.adapters.sandbox.choose import choose
    from dpbuild.adapters.store import DiskStore

    def none(kind: object) -> None:
        raise AssertionError(kind)

    found = composed_base("debian13")
    sandbox = choose("bubblewrap", os.environ["PATH"], none)
    builder = Builder(
        start=lambda: (sandbox, found.rootfs),
        identity="debian13",
        interpreter=found.base.facts.interpreter,
        python=found.base.facts.version,
    )
    store = DiskStore(tmp_path_factory.mktemp("store"), lambda note: None)
    host = HostIndexes(index=(("PIP_INDEX_URL", index.simple),))
    folder = str(tmp_path_factory.mktemp("project"))
    return BuilderPip(builder, store, host=lambda: host, outside=Outside(), directory=folder)


@pytest.fixture(params=["fake", "real"])
def pip(request: pytest.FixtureRequest, index: Index) -> Pip:
    if request.param == "real":
        return request.getfixturevalue("real")  # type: ignore[no-any-return]
    fake = FakePip(TARGET, url=f"{index.url}/files")
    for name, version, tag, requires in WHEELS:
        file = make_wheel(name, version, tag, requires=requires)
        fake.add(file[0], requires, index.add(file))
    for name in ("source", "native"):
        fake.add(f"{name}-1.0.tar.gz", sha256=index.add_sdist(name, "1.0"))
    return fake


def compiled(pip: Pip, *lines: str, known: tuple[Metadata, ...] = (), **more: tuple[str, ...]) -> dict[str, str]:
    found = pip.compile(ResolveRequest(requirements=lines, **more), known)  # type: ignore[arg-type]
    return {row.name: row.version or row.url for row in found}


def test_versions_are_those_of_wheels_for_the_builder(pip: Pip) -> None:
    """And markers are evaluated for its Python."""
    assert compiled(pip, "app", "pure<2") == {"app": "1.0", "native": "1.0", "pure": "1.0"}


def test_constraints_limit_and_preferences_hold(pip: Pip) -> None:
    more = {"constraints": ("native<2",), "preferences": ("pure==1.0", "app==0.1")}
    assert compiled(pip, "pure", "app", **more) == {"app": "1.0", "native": "1.0", "pure": "1.0"}


def test_what_is_known_of_an_sdist_stands_for_a_wheel(pip: Pip) -> None:
    """Before the wheels of the same version, too."""
    known = (
        Metadata(name="source", version="1.0", requires=("pure<2",)),
        Metadata(name="native", version="1.0", requires=("source",)),
    )
    assert compiled(pip, "app", known=known) == {"app": "1.0", "native": "1.0", "pure": "1.0", "source": "1.0"}


def test_no_solution(pip: Pip) -> None:
    with pytest.raises(NoSolution, match="the requirements have no solution") as caught:
        compiled(pip, "source<2")
    assert caught.value.wanted == ("source<2",)
    assert caught.value.exit_code == 41
    with pytest.raises(NoSolution) as caught:
        compiled(pip, "pure>1", "pure<2")
    assert {*caught.value.wanted} == {"pure>1", "pure<2"}


def test_all_files_of_all_platforms_are_offered(pip: Pip) -> None:
    found = pip.offered(ResolveRequest(requirements=()), [Pin(name="native"), Pin(name="nowhere")], TARGET)
    assert {(row.version, row.file.name) for row in found["native"]} == {
        ("1.0", "native-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"),
        ("1.0", "native-1.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"),
        ("1.0", "native-1.0.tar.gz"),
        ("1.1", "native-1.1-cp313-cp313-win_amd64.whl"),
    }
    assert found["nowhere"] == ()


def test_a_version_s_files_have_hashes_and_addresses(pip: Pip, index: Index) -> None:
    pins = [Pin(name="pure", version="1.0"), Pin(name="source", version="1.0")]
    found = pip.offered(ResolveRequest(requirements=()), pins, TARGET)
    (pure,), (source,) = found["pure"], found["source"]
    name = "pure-1.0-py3-none-any.whl"
    assert (pure.version, pure.file.name, pure.file.url) == ("1.0", name, index.file_url(name))
    assert pure.file.sha256 == index.add((name, index.files[name]))
    assert source.file.sha256 == index.add(("source-1.0.tar.gz", index.files["source-1.0.tar.gz"]))


def test_a_file_by_its_address(pip: Pip, index: Index) -> None:
    name = "pure-1.0-py3-none-any.whl"
    address = index.file_url(name)
    assert compiled(pip, f"pure @ {address}") == {"pure": address}
    found = pip.offered(ResolveRequest(requirements=()), [Pin(name="pure", url=address)], TARGET)
    (row,) = found["pure"]
    assert (row.version, row.file.name, row.file.url) == ("", name, address)
    assert row.file.sha256 == index.add((name, index.files[name]))


class TestReal:
    """What only the real one can show."""

    def test_an_index_without_hashes(self, real: Pip, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        """The one file that may be taken is read for its own; the others are left alone."""
        monkeypatch.setattr(index, "json", False)
        monkeypatch.setattr(index, "fragments", False)
        before = len(index.requests)
        found = real.offered(ResolveRequest(requirements=()), [Pin(name="native", version="1.0")], TARGET)
        asked = [row for row in index.requests[before:] if row.startswith("/files/")]
        assert {bool(row.file.sha256) for row in found["native"] if "cp311" not in row.file.name} == {True}
        assert not any("cp311" in row for row in asked)
        assert len(asked) == 2

    def test_options_of_requirements_files(self, real: Pip, tmp_path: Path) -> None:
        name, data = make_wheel("local", "2.0rc1", requires=("pure",))
        (tmp_path / "wheels").mkdir()
        (tmp_path / "wheels" / name).write_bytes(data)
        request = ResolveRequest(requirements=("local>=1",), options=("--pre", f"-f {tmp_path}/wheels"))
        assert {row.name: row.version for row in real.compile(request, ())} == {"local": "2.0rc1", "pure": "2.0"}
        found = real.offered(request, [Pin(name="local", version="2.0rc1")], TARGET)
        assert found["local"][0].file.path == str(tmp_path / "wheels" / name)

    def test_nothing_is_built(self, real: Pip) -> None:
        """The sdist's backend does not exist; and what may not be, is not even tried."""
        with pytest.raises(NoSolution):
            real.compile(replace(ResolveRequest(requirements=("source",)), allow_sdist=frozenset("*")), ())
