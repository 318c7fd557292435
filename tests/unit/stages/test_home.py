"""Whose home HOME is, and that everybody may write there."""

from dataclasses import replace
from pathlib import Path

import pytest
from factories.image import make_image
from factories.python_image import PATH, Notes, debian

from dpbuild.adapters.source.layout import LayoutSource
from dpbuild.adapters.store import DiskStore
from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.model.base import Base
from dpbuild.model.config import Config
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import LayoutReference
from dpbuild.stages.base import read_base
from dpbuild.stages.home import Home, find_home

USERS = (
    b"# a comment\nroot:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"
    b"nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\nslash:x:7:7::/:/bin/sh\nbroken\n"
)
NONROOT = Entry(path="home/nonroot", kind=Kind.DIRECTORY, mode=0o700, uid=65532, gid=65532, mtime=7)
FOLDERS = (
    Entry(path="home", kind=Kind.DIRECTORY, mode=0o755),
    NONROOT,
    Entry(path="root", kind=Kind.DIRECTORY, mode=0o700),
    Entry(path="tmp", kind=Kind.DIRECTORY, mode=0o1777),
)


class Users:
    """Contents with nothing but ``/etc/passwd``."""

    def __init__(self, data: bytes | None = USERS) -> None:
        self.data = data
        self.asked = 0

    def prefetch(self, paths: object) -> None:
        pass

    def get(self, path: str, limit: int = 0) -> bytes | None:
        assert path == "etc/passwd"
        self.asked += 1
        return self.data


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture
def base(tmp_path: Path, store: DiskStore) -> Base:
    path = str(make_image(tmp_path / "image", *debian(), config={"Env": [PATH], "User": "65532"}).path)
    reference = LayoutReference(path=path)
    found = read_base(reference, LayoutSource(reference), Platform("linux", "amd64"), store, Notes())
    return replace(found, tree=FileTree.of([FOLDERS]))


def config(base: Base, **more: object) -> Config:
    return Config(directory="/", base=base.reference, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("user", ["", "65532", "nonroot", "nonroot:nonroot", "65532:0"])
def test_the_images_user(base: Base, store: DiskStore, user: str) -> None:
    home = find_home(config(base, user=user), base, Users(), store)
    assert home == Home("nonroot", "/home/nonroot", NONROOT._replace(mode=0o1777))
    assert home.variables(base) == (("HOME", "/home/nonroot"), ("USER", "nonroot"))


def test_root(base: Base, store: DiskStore) -> None:
    base = replace(base, config=replace(base.config, user=""))
    home = find_home(config(base), base, Users(), store)
    assert home is not None
    assert (home.user, home.path, home.folder and home.folder.mode) == ("root", "/root", 0o1777)


@pytest.mark.parametrize(("user", "name"), [("1000", "app"), ("nobody", "nobody"), ("slash", "slash"), ("7", "slash")])
def test_who_has_no_home_gets_tmp(base: Base, store: DiskStore, user: str, name: str) -> None:
    assert find_home(config(base, user=user), base, Users(), store) == Home(name, "/tmp", None)


def test_a_base_without_users_and_one_without_tmp(base: Base, store: DiskStore) -> None:
    assert find_home(config(base), base, Users(None), store) == Home("app", "/tmp", None)
    for folders in (FOLDERS[:1], (*FOLDERS[:1], FOLDERS[3]._replace(mode=0o755))):
        bare = replace(base, tree=FileTree.of([folders]))
        assert find_home(config(base, user="1"), bare, Users(), store) is None


def test_a_folder_that_everybody_may_write_to_stays_as_it_is(base: Base, store: DiskStore) -> None:
    base = replace(base, tree=FileTree.of([(FOLDERS[0], NONROOT._replace(mode=0o777))]))
    assert find_home(config(base), base, Users(), store) == Home("nonroot", "/home/nonroot", None)


def test_a_link_in_its_place_is_not_followed(base: Base, store: DiskStore) -> None:
    link = Entry(path="home/nonroot", kind=Kind.SYMLINK, mode=0o777, target="/etc")
    base = replace(base, tree=FileTree.of([(FOLDERS[0], link, FOLDERS[3])]))
    assert find_home(config(base), base, Users(), store) == Home("nonroot", "/tmp", None)


def test_what_is_set_already_stays(base: Base, store: DiskStore) -> None:
    assert find_home(config(base, env=(("HOME", "/srv"),)), base, Users(), store) is None
    named = replace(base, config=replace(base.config, env=(PATH, "LOGNAME=someone")))
    home = find_home(config(base), named, Users(), store)
    assert home is not None
    assert home.variables(named) == (("HOME", "/home/nonroot"),)
    there = replace(base, config=replace(base.config, env=(PATH, "HOME=/srv")))
    assert find_home(config(base), there, Users(), store) is None


def test_the_base_is_read_once(base: Base, store: DiskStore) -> None:
    users = Users()
    first = find_home(config(base), base, users, store)
    assert find_home(config(base), base, users, store) == first
    assert users.asked == 1
