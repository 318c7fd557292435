"""Helpers: real processes that are asked, fail, are lost, and never stay behind."""

import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dpbuild.adapters import helper as adapter
from dpbuild.adapters import shared
from dpbuild.adapters.helper import ProcessHelper
from dpbuild.adapters.shared import SLOTS
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import StoreError
from dpbuild.oci.digest import Digest
from dpbuild.ports.helper import HelperLost
from dpbuild.ports.store import DamagedEntry, Store

Progress = Callable[[int], object]


def adds(store: Store, argument: tuple[int, int], progress: Progress) -> int:
    progress(700_000)
    progress(700_000)
    progress(1)
    print("this must not get in between")
    return sum(argument)


def keeps(store: Store, argument: bytes, progress: Progress) -> str:
    with store.writer() as writer:
        writer.write(argument)
        return str(writer.commit()[0])


def opens(store: Store, argument: str, progress: Progress) -> bytes:
    with store.open(Digest(argument)) as file:
        return file.read()


def refuses(store: Store, argument: str, progress: Progress) -> None:
    raise StoreError(argument, where="there", hint="do this")


def damaged(store: Store, argument: str, progress: Progress) -> None:
    raise DamagedEntry(argument)


class Odd(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__()
        self.one = lambda: one + two


def odd(store: Store, argument: None, progress: Progress) -> None:
    raise Odd(1, 2)


def dies(store: Store, argument: None, progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def writes(store: Store, argument: str, progress: Progress) -> None:
    with store.writer() as writer:
        writer.write(b"half")
        Path(argument).write_text(str(os.getpid()))
        time.sleep(60)


def sends(store: Store, argument: int, send: Callable[[object], object]) -> None:
    memory = bytearray(1 << 20)
    for number in range(argument):
        memory[:1] = bytes([number])
        send((number, pickle.PickleBuffer(memory)))


def sends_and_refuses(store: Store, argument: str, send: Callable[[object], object]) -> None:
    send(1)
    raise StoreError(argument)


def sends_and_dies(store: Store, argument: None, send: Callable[[object], object]) -> None:
    send(1)
    os.kill(os.getpid(), signal.SIGKILL)


def sends_without_end(store: Store, argument: None, send: Callable[[object], object]) -> None:
    with store.writer() as writer:
        writer.write(b"half")
        while True:
            send(bytes(1 << 20))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    found = DiskStore(tmp_path / "store")
    yield found
    found.close()


@pytest.fixture
def helper(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessHelper]:
    # The functions here are found by the other process, too.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    streams = (small, sends, sends_and_refuses, sends_and_dies, sends_without_end)
    for each in (adds, keeps, opens, refuses, damaged, odd, dies, writes, Odd, *streams):
        monkeypatch.setattr(each, "__module__", "test_helper")
    monkeypatch.setitem(sys.modules, "test_helper", sys.modules[__name__])
    found = ProcessHelper(store)
    yield found
    found.stop()


def wait_for(path: Path) -> int:
    for _ in range(1000):
        if path.is_file() and path.read_text():
            return int(path.read_text())
        time.sleep(0.01)
    raise AssertionError("nothing came")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"


def test_it_answers_and_tells_its_progress(helper: ProcessHelper) -> None:
    told: list[int] = []
    assert helper.run(adds, (1, 2), told.append) == 3
    assert helper.run(adds, (3, 4), told.append) == 7
    assert sum(told) == 2 * 1_400_001
    assert len(told) == 4


def small(store: Store, argument: int, send: Callable[[object], object]) -> None:
    memory = bytearray(1000)
    for number in range(argument):
        memory[:] = bytes([number]) * 1000
        send((number, pickle.PickleBuffer(memory), pickle.PickleBuffer(memory[:10])))


def test_what_is_sent_in_shared_memory_stays_until_the_next_is_asked_for(helper: ProcessHelper) -> None:
    """More messages than there is memory for; the helper goes on as soon as it may."""
    for _ in range(2):
        seen = 0
        for number, large, little in helper.stream(small, 3 * SLOTS + 1):
            assert bytes(large) == bytes([number]) * 1000
            assert bytes(little) == bytes([number]) * 10
            assert number == seen
            seen += 1
        assert seen == 3 * SLOTS + 1
    assert helper.run(adds, (1, 2), lambda size: None) == 3


def test_its_end_is_waited_for_without_pauses(helper: ProcessHelper, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(seconds: float) -> None:
        raise AssertionError("slept")

    assert helper.run(adds, (1, 2), lambda size: None) == 3
    monkeypatch.setattr(time, "sleep", never)
    helper.close()
    assert helper._process.poll() == 0


def test_one_that_is_dismissed_ends_by_itself(helper: ProcessHelper) -> None:
    assert helper.run(adds, (1, 2), lambda size: None) == 3
    helper.dismiss()
    assert helper._process.wait(10) == 0
    with pytest.raises(HelperLost):
        helper.run(adds, (1, 2), lambda size: None)
    helper.close()


def test_its_end_is_waited_for_where_processes_have_no_descriptors(
    helper: ProcessHelper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert helper.run(adds, (1, 2), lambda size: None) == 3
    helper.close()
    assert helper._process.poll() == 0


@pytest.mark.parametrize("descriptors", [True, False])
def test_one_that_does_not_end_is_killed(
    helper: ProcessHelper, monkeypatch: pytest.MonkeyPatch, descriptors: bool
) -> None:
    if not descriptors:
        monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.setattr(adapter, "_SECONDS", 0.1)
    assert helper.run(adds, (1, 2), lambda size: None) == 3
    os.kill(helper._process.pid, signal.SIGSTOP)
    helper.close()
    assert helper._process.poll() == -signal.SIGKILL


def refused(name: str) -> int:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize("create", [None, refused], ids=["unknown", "refused"])
def test_memory_for_where_the_system_has_no_nameless_files(
    monkeypatch: pytest.MonkeyPatch, create: Callable[[str], int] | None
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    if create is not None:
        monkeypatch.setattr(os, "memfd_create", create, raising=False)
    with shared.descriptor() as number:
        one, other = shared.Slots(number), shared.Slots(number)
    assert one.put(SLOTS - 1, [memoryview(b"abc"), memoryview(b"de")])
    assert [bytes(part) for part in other.get(SLOTS - 1, [3, 2])] == [b"abc", b"de"]
    assert not one.put(0, [memoryview(bytes(1 << 20))])


def test_it_has_the_same_store(helper: ProcessHelper, store: DiskStore) -> None:
    digest = helper.run(keeps, b"content", lambda size: None)
    assert [row.name for row in (store.path / "blobs/sha256").iterdir()] == [digest.partition(":")[2]]


def test_each_verifies_what_the_other_has_not(helper: ProcessHelper, store: DiskStore) -> None:
    """Content that is not what its digest says shows whether somebody looks."""

    def spoil(digest: str) -> None:
        (store.path / "blobs/sha256" / digest).write_bytes(b"spoiled")

    with store.writer() as writer:
        writer.write(b"written here")
        ours = writer.commit()[0].hex
    theirs = helper.run(keeps, b"written there", lambda size: None).partition(":")[2]
    spoil(ours)
    spoil(theirs)
    assert helper.run(opens, ours, lambda size: None) == b"spoiled"
    assert opens(store, theirs, lambda size: None) == b"spoiled"
    other = DiskStore(store.path)
    unknown = ProcessHelper(other)
    for digest in (ours, theirs):
        with pytest.raises(DamagedEntry, match=digest):
            unknown.run(opens, digest, lambda size: None)
    unknown.close()
    other.close()


def test_errors_come_back_as_they_are(helper: ProcessHelper) -> None:
    with pytest.raises(StoreError) as caught:
        helper.run(refuses, "no", lambda size: None)
    assert (caught.value.what, caught.value.where, caught.value.hint) == ("no", "there", "do this")
    with pytest.raises(DamagedEntry, match="sha256:1"):
        helper.run(damaged, "sha256:1", lambda size: None)
    with pytest.raises(RuntimeError, match="Odd"):
        helper.run(odd, None, lambda size: None)
    assert helper.run(adds, (1, 2), lambda size: None) == 3


def test_what_is_sent_comes_in_its_order_and_with_its_memory(helper: ProcessHelper) -> None:
    found = [(number, bytes(data)) for number, data in helper.stream(sends, 5)]
    assert found == [(number, bytes([number]) + bytes((1 << 20) - 1)) for number in range(5)]
    # Nothing is left of it in the pipe.
    assert helper.run(adds, (1, 2), lambda size: None) == 3
    assert list(helper.stream(sends, 0)) == []


def test_an_error_comes_behind_what_was_sent(helper: ProcessHelper) -> None:
    stream = helper.stream(sends_and_refuses, "no")
    assert next(stream) == 1
    with pytest.raises(StoreError, match="no"):
        next(stream)
    assert helper.run(adds, (1, 2), lambda size: None) == 3


def test_one_that_is_killed_while_it_sends_is_lost(helper: ProcessHelper) -> None:
    stream = helper.stream(sends_and_dies, None)
    assert next(stream) == 1
    with pytest.raises(HelperLost):
        next(stream)


def test_nobody_listens_any_more(helper: ProcessHelper, store: DiskStore, capfd: pytest.CaptureFixture[str]) -> None:
    """It ends, though it was about to send, leaves nothing half-written, and has nothing to say about it."""
    stream = helper.stream(sends_without_end, None)
    assert next(stream) == bytes(1 << 20)
    stream.close()
    assert not alive(helper._process.pid)
    assert list((store.path / "tmp").iterdir()) == []
    assert capfd.readouterr() == ("", "")
    with pytest.raises(HelperLost):
        helper.run(adds, (1, 2), lambda size: None)


def test_one_that_is_killed_is_lost(helper: ProcessHelper) -> None:
    with pytest.raises(HelperLost):
        helper.run(dies, None, lambda size: None)
    with pytest.raises(HelperLost):
        helper.run(adds, (1, 2), lambda size: None)


def test_stopping_it_leaves_nothing_half_written(helper: ProcessHelper, store: DiskStore, tmp_path: Path) -> None:
    import threading

    lost: list[BaseException] = []

    def ask() -> None:
        try:
            helper.run(writes, str(tmp_path / "pid"), lambda size: None)
        except HelperLost as problem:
            lost.append(problem)

    thread = threading.Thread(target=ask)
    thread.start()
    pid = wait_for(tmp_path / "pid")
    helper.stop()
    thread.join(10)
    assert len(lost) == 1
    assert not alive(pid)
    assert list((store.path / "tmp").iterdir()) == []


def test_it_ends_with_the_process_that_asks(store: DiskStore, tmp_path: Path) -> None:
    """Also where that is killed without a word."""
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_helper\n"
        "from pathlib import Path\nfrom dpbuild.adapters.helper import ProcessHelper\n"
        "from dpbuild.adapters.store import DiskStore\n"
        f"store = DiskStore(Path({str(store.path)!r}))\n"
        f"ProcessHelper(store).run(test_helper.writes, {str(tmp_path / 'pid')!r}, print)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment)
    pid = wait_for(tmp_path / "pid")
    parent.kill()
    parent.wait()
    for _ in range(500):
        if not alive(pid):
            break
        time.sleep(0.01)
    assert not alive(pid)
    assert list((store.path / "tmp").iterdir()) == []
