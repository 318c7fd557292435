"""Which Debian packages go on top of a base, and how they are locked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import pytest
from factories.facts import make_facts, make_target
from packaging.pylock import Pylock

from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.errors import ConfigError
from dpbuild.model.base import Base
from dpbuild.model.config import Config
from dpbuild.model.facts import SystemPackage
from dpbuild.model.lock import Lock, LockedBase, LockedFile, LockedPackage, LockedRuntime
from dpbuild.oci import mediatype
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import parse
from dpbuild.stages import config as config_stage
from dpbuild.stages import lockfile
from dpbuild.stages.inputs import changes, inputs, stale
from dpbuild.stages.lockfile import inputs_hash
from dpbuild.stages.runtime import Wanted, lock_runtime, wanted

AMD64 = Platform("linux", "amd64")
LDCONFIG = Entry(path="usr/sbin/ldconfig", kind=Kind.FILE, mode=0o755)
SHA = "a" * 64


def base(distributor: str = "debian:13", entries: Iterable[Entry] = (LDCONFIG,), digest: str = "0") -> Base:
    descriptor = Descriptor(media_type=mediatype.OCI_MANIFEST, digest=Digest(digest * 64), size=1)
    facts = replace(make_facts(), distributor=distributor, packages=(SystemPackage(name="libc6", version="2.41-12"),))
    return Base(
        reference=parse("registry.example/base:1"),
        root=descriptor,
        descriptor=descriptor,
        platform=AMD64,
        manifest=Manifest(media_type=mediatype.OCI_MANIFEST, config=descriptor, layers=()),
        config=ImageConfig(platform=AMD64),
        facts=facts,
        tree=FileTree.of([entries]),
    )


def configured(text: str = "") -> Config:
    return config_stage.load("/project", {"pyproject.toml": f"[tool.dpbuild]\n{text}"}.get)


def package(name: str, version: str = "1.0", *, wheel: bool = True, tag: str = "py3-none-any") -> LockedPackage:
    stem = name.replace("-", "_")
    files = (f"{stem}-{version}-{tag}.whl",) if wheel else ()
    return LockedPackage(
        name=name,
        version=version,
        wheels=tuple(LockedFile(name=row, url=f"https://files.example/{row}", sha256=SHA) for row in files),
        sdist=LockedFile(name=f"{stem}-{version}.tar.gz", url=f"https://files.example/{stem}.tar.gz", sha256=SHA),
    )


def want(*packages: LockedPackage, config: str = "", on: Base | None = None, notes: list[str] | None = None) -> Wanted:
    said = notes if notes is not None else []
    return wanted(configured(config), packages, make_target(), on or base(), said.append)


def test_recipes_of_what_is_locked_and_what_is_configured():
    found = want(package("python-magic"), package("requests"), config='runtime-packages = ["libpq5"]')
    assert found == Wanted(("libmagic1t64", "libpq5"))
    assert want(package("python-magic"), on=base("debian:12")).packages == ("libmagic1",)
    assert want(package("requests")) == Wanted(())


def test_without_is_passed_on():
    found = want(package("opencv-python"))
    assert "libgl1" in found.packages
    assert "libglx-mesa0" in found.without


def test_a_wheel_that_brings_its_libraries_needs_none():
    tag = "cp313-cp313-manylinux_2_28_x86_64"
    assert want(package("lxml", tag=tag)).packages == ()
    assert want(package("lxml", wheel=False)).packages == ("libxml2", "libxslt1.1")
    # A wheel for another machine is none for this one.
    assert want(package("lxml", tag="cp313-cp313-manylinux_2_28_aarch64")).packages == ("libxml2", "libxslt1.1")
    assert want(package("lxml", tag=tag), config='no-binary = ["lxml"]').packages == ("libxml2", "libxslt1.1")
    assert want(package("lxml", tag=tag), config='no-binary = [":all:"]').packages != ()
    # These wheels leave it to the system.
    assert "libodbc2" in want(package("pyodbc", tag=tag)).packages


def test_another_project_makes_them_needless():
    assert want(package("psycopg", "3.2")).packages == ("libpq5",)
    assert want(package("psycopg", "3.2"), package("psycopg-binary", "3.2")).packages == ()
    assert want(package("psycopg", "2.0")).packages == ()


def test_packages_for_another_platform_do_not_count():
    row = replace(package("python-magic"), marker="platform_machine == 'aarch64'")
    assert want(row).packages == ()


def test_overrides():
    assert want(package("python-magic"), config="recipes.python-magic.run.debian13.packages = []").packages == ()
    assert want(package("own"), config='recipes.own.run.packages = ["libown1"]').packages == ("libown1",)


def test_find_library_needs_ldconfig():
    assert want(package("psycopg", "3.2"), on=base(entries=())).packages == ("libc-bin", "libpq5")
    assert want(on=base(entries=())).packages == ()


def test_a_base_that_is_not_debians():
    with pytest.raises(ConfigError, match=r"runtime-packages are Debian's, and the base is alpine:3\.20"):
        want(config='runtime-packages = ["libpq5"]', on=base("alpine:3.20"))
    with pytest.raises(ConfigError, match="unknown distributor"):
        want(config='runtime-packages = ["libpq5"]', on=base(""))
    notes: list[str] = []
    assert want(package("python-magic"), on=base("wolfi:20230201"), notes=notes).packages == ()
    assert notes == ["python-magic needs libraries that its wheel does not bring: this base must have them"]


@dataclass
class Suite:
    """Has a version of everything; counts how often it is asked."""

    version: str = "1.0"
    asked: list[tuple[tuple[str, ...], dict[str, str], frozenset[str]]] = field(default_factory=list)

    def close(self, names: Iterable[str], have: Mapping[str, str], without: frozenset[str]):
        rows = tuple(names)
        self.asked.append((rows, dict(have), without))
        return tuple((name, self.version, SHA) for name in rows), "2026-01-01T00:00:00Z"

    def fetch(self, *_: object) -> tuple[bytes, ...]:
        raise AssertionError


def lock_of(row: LockedRuntime | None, digest: str = "0") -> Lock:
    locked = LockedBase(platform="linux/amd64", digest=f"sha256:{digest * 64}", facts=())
    values = inputs(configured())
    return Lock(
        requires_python="==3.13.*",
        environments=("platform_machine == 'x86_64'",),
        packages=(package("a"),),
        platforms=("linux/amd64",),
        inputs=inputs_hash(values),
        input_values=values,
        base_reference="registry.example/base:1",
        base_digest=f"sha256:{digest * 64}",
        bases=(locked,),
        runtime=(row,) if row else (),
    )


def test_locked_against_what_the_base_has():
    suite = Suite()
    row = lock_runtime(Wanted(("libpq5",), ("x",)), base(), None, lambda: suite)
    assert row == LockedRuntime(
        platform="linux/amd64",
        wanted=("libpq5",),
        without=("x",),
        packages=(("libpq5", "1.0", SHA),),
        date="2026-01-01T00:00:00Z",
    )
    assert suite.asked == [(("libpq5",), {"libc6": "2.41-12"}, frozenset({"x"}))]
    assert lock_runtime(Wanted(()), base(), None, lambda: suite) is None


def test_what_is_locked_stays_until_something_that_decides_it_changes():
    old, suite = Suite("1.0"), Suite("2.0")
    row = lock_runtime(Wanted(("libpq5",)), base(), None, lambda: old)
    previous = lock_of(row)
    assert lock_runtime(Wanted(("libpq5",)), base(), previous, lambda: suite) is row
    assert suite.asked == []
    for want_, on in (
        (Wanted(("libpq5", "more")), base()),
        (Wanted(("libpq5",), ("x",)), base()),
        (Wanted(("libpq5",)), base(digest="1")),
    ):
        again = lock_runtime(want_, on, previous, lambda: suite)
        assert again is not None
        assert again.packages[0] == ("libpq5", "2.0", SHA)


def test_the_lock_is_a_lock_for_others_too():
    row = LockedRuntime(
        platform="linux/amd64",
        wanted=("libpq5",),
        without=("x",),
        packages=(("libldap2", "2.6", SHA), ("libpq5", "1.0", SHA)),
        date="2026-01-01T00:00:00Z",
    )
    text = lockfile.dumps(lock_of(row))
    import tomllib

    Pylock.from_dict(tomllib.loads(text)).validate()
    assert lockfile.loads(text) == lock_of(row)
    assert '\n    { name = "libpq5", version = "1.0", sha256 =' in text
    assert "runtime" not in lockfile.dumps(lock_of(None))
    assert lockfile.loads(lockfile.dumps(lock_of(None))).runtime == ()


def test_what_changed_is_said():
    old, new = Suite("1.0"), Suite("2.0")
    one, two = (lock_of(lock_runtime(Wanted(("libpq5",)), base(), None, lambda s=s: s)) for s in (old, new))
    assert changes(one, two) == ("libpq5 (Debian) 1.0 -> 2.0",)
    assert changes(one, lock_of(None)) == ("- libpq5 (Debian) 1.0",)


def test_a_lock_is_stale_when_the_configuration_asks_for_other_packages():
    locked = lock_of(None)
    assert stale(locked, configured()) is None
    assert stale(locked, configured('runtime-packages = ["libpq5"]')) == "runtime-packages changed: + libpq5"
    recipe = "recipes.lxml.build.packages = ['x1']"
    assert stale(locked, configured(recipe)) == "recipes changed"
    with_recipe = replace(
        locked, input_values=inputs(configured(recipe)), inputs=inputs_hash(inputs(configured(recipe)))
    )
    assert stale(with_recipe, configured(recipe)) is None
    assert stale(with_recipe, configured("recipes.lxml.build.packages = ['x2']")) == "recipes changed"
