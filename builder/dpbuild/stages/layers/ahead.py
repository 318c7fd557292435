"""Reading what a layer holds in another process, ahead of this one, which writes what was read.

For a layer that is larger than all the others nobody else would do anything meanwhile. What is read comes piece by
piece, with what is to be done with it; so the layer, and every error, is that of reading it here. Which of both
processes looks at a file for the layer's observer is up to the moment, and the same is seen: the one that reads, as
long as it is ahead of the one that writes.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dpbuild.archive.deflate import Splicer
from dpbuild.oci.digest import Digest
from dpbuild.ports.helper import Helper
from dpbuild.ports.store import Store
from dpbuild.stages.layers.content import Archived, Output, Tap
from dpbuild.stages.layers.observer import Identity, Look
from dpbuild.stages.layers.wheels import Planned, Reader

if TYPE_CHECKING:
    from pickle import PickleBuffer

# Bytes that are sent at a time: with fewer, sending would cost more than it has to.
_BATCH: Final = 512 * 1024

# Bytes in wheels from which on asking pays: the helper verifies these first.
_WORTH_IT: Final = 16 << 20

# What is to be done to the output: with the next bytes of the batch, and then without any.
_RAW: Final = 0
_PLAIN: Final = 1
_ADD: Final = 2
_SPLICE: Final = 3
_SPLICED: Final = 4
# A file begins that is looked at where it is read.
_LOOK: Final = 5
_END: Final = 6
# Batches that nobody has taken yet, from which on whoever reads has time to look at files.
_AHEAD: Final = 6

# One of these, a number of bytes, and for _SPLICED the CRC-32. For _END the number is that of what was seen of the file
# in its batch, from 1, or 0 for None.
_Step = tuple[int, int, int]
_Batch = tuple[list[_Step], "PickleBuffer", list[Any]]
Readers = tuple[tuple[Digest, Reader], ...]
Looks = Callable[[], Look] | None


class File(NamedTuple):
    """One to be written, and its path in the layer."""

    path: str
    planned: Planned


# Writes a file; what is returned is what was seen of it by ``Look``, or None.
Feed = Callable[[File, Output], Any]
# A file to be read elsewhere: its path, its identity and its content.
_Asked = tuple[str, Identity, Archived]


@contextmanager
def here(files: Sequence[File], looks: Looks) -> Iterator[Feed]:  # noqa: ARG001 - as elsewhere has them
    """Each of ``files`` is read when it is written."""
    with _looking(looks) as look:
        yield lambda file, output: _fed(file, output, look)


@contextmanager
def _looking(looks: Looks) -> Iterator[Look | None]:
    if looks is None:
        yield None
    else:
        with closing(looks()) as look:
            yield look


def _fed(file: File, output: Output, look: Look | None) -> Any:
    planned = file.planned
    if look is None:
        planned.content.feed(output)
        return None
    output.tap = look.begin(file.path, planned.content.size, planned.identity)
    planned.content.feed(output)
    output.tap = None
    return look.end()


@contextmanager
def elsewhere(helper: Helper, readers: Readers, files: Sequence[File], looks: Looks) -> Iterator[Feed]:
    """The members of wheels among ``files`` are read by a helper, from where on it has nothing else to do.

    They must be written in that order. ``readers`` are those of the wheels. Writing raises what reading raises, and
    HelperLost. A block that is left before all is read takes the helper with it.
    """
    asked = [
        (path, planned.identity, planned.content) for path, planned in files if isinstance(planned.content, Archived)
    ]
    with _looking(looks) as look, closing(_Reading(helper, readers, asked, looks, look)) as reading:
        yield reading.feed
        reading.finish()


class _Reading:
    """What a helper reads, as it comes."""

    def __init__(self, helper: Helper, readers: Readers, asked: list[_Asked], looks: Looks, look: Look | None) -> None:
        self._helper = helper
        self._readers = readers
        self._asked = asked
        self._looks = looks
        self._look = look
        # How many of them are written, and the bytes that the others have in their wheels.
        self._written = 0
        self._left = sum(content.entry.compressed for _, _, content in asked)
        self._batches: Generator[_Batch, None, None] | None = None
        self._steps: Iterator[_Step] = iter(())
        self._data = memoryview(b"")
        self._seen: list[Any] = []
        self._at = 0

    def feed(self, file: File, output: Output) -> Any:
        content = file.planned.content
        if not isinstance(content, Archived):
            return _fed(file, output, self._look)
        if self._batches is None and self._left >= _WORTH_IT and not self._helper.busy:
            self._batches = self._helper.stream(_read, (self._readers, self._asked[self._written :], self._looks))
        if self._batches is None:
            seen = _fed(file, output, self._look)
        else:
            look = self._look
            if look is not None:
                output.tap = look.begin(file.path, content.size, file.planned.identity)
            while (number := self._done(output)) is None:
                steps, data, self._seen = next(self._batches)
                self._steps, self._data, self._at = iter(steps), memoryview(data), 0
            if look is not None and output.tap is not None:
                seen = look.end()
            else:
                seen = self._seen[number - 1] if number else None
            output.tap = None
        self._written += 1
        self._left -= content.entry.compressed
        return seen

    def finish(self) -> None:
        """Take the end of the answer: then the helper can be asked again."""
        for _ in self._batches or ():
            pass

    def close(self) -> None:
        if self._batches is not None:
            self._batches.close()

    def _done(self, output: Output) -> int | None:
        """Do what is at hand for one file: the number that ends it, or None if there is more to come."""
        for kind, size, crc in self._steps:
            if kind == _END:
                return size
            if kind == _LOOK:
                output.tap = None
            elif kind == _SPLICE:
                output.member.splice()
            elif kind == _SPLICED:
                output.member.spliced(crc, size)
            else:
                at, self._at = self._at, self._at + size
                data = self._data[at : self._at]
                if kind == _PLAIN:
                    output.plain(data)
                elif kind == _RAW:
                    output.raw(data)
                else:
                    output.member.add(bytes(data))
        return None


def _read(store: Store, argument: tuple[Readers, list[_Asked], Looks], send: Callable[[_Batch], int]) -> None:
    """What the helper does."""
    readers, asked, looks = argument
    with ExitStack() as stack:
        look = stack.enter_context(_looking(looks))
        splicer = Splicer()
        stack.callback(splicer.close)
        for digest, reader in readers:
            reader.file = stack.enter_context(store.open(digest))
        recorder = _Recorder(splicer, send)
        for path, identity, content in asked:
            if look is not None and recorder.ahead >= _AHEAD:
                recorder.looked(look.begin(path, content.size, identity))
                content.feed(recorder)
                recorder.end(look.end())
            else:
                content.feed(recorder)
                recorder.end(None)
        recorder.flush()


class _Recorder:
    """Implements ``content.Output`` and ``content.Compressing``: what is done to it is sent, to be done elsewhere."""

    def __init__(self, splicer: Splicer, send: Callable[[_Batch], int]) -> None:
        self.splicer = splicer
        self.tap: Tap | None = None
        # Batches that nobody has taken yet.
        self.ahead = 0
        self._send = send
        self._steps: list[_Step] = []
        self._seen: list[Any] = []
        # Sending has copied what is in it: it is filled again and again.
        self._buffer = memoryview(bytearray(_BATCH))
        self._filled = 0

    @property
    def member(self) -> "_Recorder":
        return self

    def raw(self, data: bytes | memoryview) -> None:
        self._keep(_RAW, data)

    def plain(self, data: bytes | memoryview) -> None:
        if self.tap is not None:
            self.tap(data)
        self._keep(_PLAIN, data)

    def add(self, data: bytes) -> None:
        if self.tap is not None:
            self.tap(data)
        self._keep(_ADD, data)

    def splice(self) -> None:
        self._steps.append((_SPLICE, 0, 0))

    def spliced(self, crc: int, size: int) -> None:
        self._steps.append((_SPLICED, size, crc))

    def looked(self, tap: Tap) -> None:
        """The file that begins is looked at here."""
        self.tap = tap
        self._steps.append((_LOOK, 0, 0))

    def end(self, seen: Any) -> None:
        self.tap = None
        if seen is not None:
            self._seen.append(seen)
        self._steps.append((_END, 0 if seen is None else len(self._seen), 0))

    def _keep(self, kind: int, data: bytes | memoryview) -> None:
        """Wherever it is cut, the layer is the same."""
        size = len(data)
        if size <= _BATCH - self._filled:
            self._buffer[self._filled : self._filled + size] = data
            self._filled += size
            self._steps.append((kind, size, 0))
            return
        view, at = memoryview(data), 0
        while at < size:
            if self._filled == _BATCH:
                self.flush()
            part = view[at : at + _BATCH - self._filled]
            at += len(part)
            self._keep(kind, part)

    def flush(self) -> None:
        from pickle import PickleBuffer

        self.ahead = self._send((self._steps, PickleBuffer(self._buffer[: self._filled]), self._seen))
        self._steps, self._filled, self._seen = [], 0, []
