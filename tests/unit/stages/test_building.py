"""The lock of build requirements: when it is asked, and when it is made anew. No backend is run here."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from factories.facts import make_facts, make_target
from fakes.resolver import FakeResolver, offered

from dpbuild.adapters.store import DiskStore
from dpbuild.errors import LockStale, SdistBuildFailed
from dpbuild.model.artifact import Artifact
from dpbuild.model.config import Project
from dpbuild.model.lock import Lock
from dpbuild.oci.digest import Digest
from dpbuild.ports.backend import Source
from dpbuild.stages.building import Work

OFFERED = {f"{name}-1.0-py3-none-any.whl": () for name in ("old_backend", "new_backend", "asked_for")}
ARTIFACT = Artifact(name="x", version="1.0", filename="x-1.0-py3-none-any.whl", digest=Digest("a" * 64), size=1)
OLD = Project(name="app", version="1", build_requires=("old-backend",), build_backend="old_backend")
NEW = replace(OLD, build_requires=("new-backend",), build_backend="new_backend")


@dataclass
class Backend:
    """Answers only what finds its own package among the wheels, as real ones do."""

    dynamic: tuple[str, ...] = ("asked-for",)
    asked: list[str] = field(default_factory=list)
    identity: str = "one"

    def requires(self, project: Project, source: Source, wheels: Sequence[Artifact]) -> tuple[str, ...]:
        self.asked.append(project.build_backend)
        if project.build_backend not in {row.name for row in wheels}:
            raise SdistBuildFailed(f"there is no {project.build_backend}")
        return self.dynamic

    def metadata(self, project: Project, source: Source, wheels: Sequence[Artifact]) -> str:
        raise NotImplementedError

    def build(self, project: Project, source: Source, wheels: Sequence[Artifact]) -> Artifact:
        raise NotImplementedError


@pytest.fixture
def work(tmp_path: Path) -> Work:
    def fetch(lock: Lock) -> tuple[Any, ...]:
        return tuple(replace(ARTIFACT, name=row.name.replace("-", "_")) for row in lock.packages)

    return Work(
        title="the app's wheel",
        project=OLD,
        source=(),
        content="",
        facts=make_facts(),
        target=make_target(),
        backend=Backend(),
        resolver=offered(FakeResolver(), OFFERED),
        fetch=fetch,
        store=DiskStore(tmp_path / "store"),
        reporter=None,  # type: ignore[arg-type]  # locking tells nobody anything
    )


def names(lock: Lock) -> list[str]:
    return [row.name for row in lock.packages]


def test_a_lock_that_holds_is_the_one_that_is_kept(work: Work) -> None:
    lock = work.lock(None, locked=False)
    assert names(lock) == ["asked-for", "old-backend"]
    assert work.lock(lock, locked=True) is lock
    twice = replace(work, project=replace(OLD, build_requires=("old-backend", "old-backend")))
    assert twice.lock(lock, locked=True) is lock


def test_another_backend_is_not_asked_with_the_wheels_of_the_one_before(work: Work) -> None:
    before = work.lock(None, locked=False)
    backend = Backend(dynamic=())
    changed = replace(work, project=NEW, backend=backend)
    with pytest.raises(LockStale, match=r"app's wheel is built with is stale: .*\+ new-backend") as caught:
        changed.lock(before, locked=True)
    assert "run dpbuild lock" in str(caught.value.hint)
    assert backend.asked == []
    assert names(changed.lock(before, locked=False)) == ["new-backend"]
    assert backend.asked == ["new_backend"]


def test_a_backend_is_not_asked_with_wheels_for_another_python(work: Work) -> None:
    before = work.lock(None, locked=False)
    backend = Backend()
    moved = replace(work, facts=make_facts("3.14.0"), target=make_target("3.14.0"), backend=backend)
    with pytest.raises(LockStale, match="it is for another interpreter"):
        moved.lock(before, locked=True)
    assert backend.asked == []


def test_what_the_backend_no_longer_asks_for_is_not_locked(work: Work) -> None:
    before = work.lock(None, locked=False)
    less = replace(work, content="another", backend=Backend(dynamic=()))
    with pytest.raises(LockStale, match=r"dependencies changed: - asked-for"):
        less.lock(before, locked=True)
    assert names(less.lock(before, locked=False)) == ["old-backend"]


def test_a_lock_that_must_be_there(work: Work) -> None:
    with pytest.raises(LockStale, match="there is no lock of what the app's wheel is built with"):
        work.lock(None, locked=True)
