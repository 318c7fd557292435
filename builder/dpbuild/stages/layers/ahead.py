"""Reading what a layer holds in another process, ahead of this one, which writes what was read.

For a layer that is larger than all the others nobody else would do anything meanwhile. What is read comes over a pipe,
piece by piece, with what is to be done with it; so the layer, and every error, is that of reading it here.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from dpbuild.archive.deflate import Splicer
from dpbuild.oci.digest import Digest
from dpbuild.ports.helper import Helper
from dpbuild.ports.store import Store
from dpbuild.stages.layers.content import Archived, Content, Output
from dpbuild.stages.layers.wheels import Reader

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
_END: Final = 5

# One of these, a number of bytes, and for _SPLICED the CRC-32.
_Step = tuple[int, int, int]
_Batch = tuple[list[_Step], "PickleBuffer"]
Readers = tuple[tuple[Digest, Reader], ...]
Feed = Callable[[Content, Output], None]


def here(contents: Iterable[Content]) -> AbstractContextManager[Feed]:  # noqa: ARG001 - as elsewhere has them
    """Each of ``contents`` is read when it is written."""
    return nullcontext(lambda content, output: content.feed(output))


@contextmanager
def elsewhere(helper: Helper, readers: Readers, contents: Iterable[Content]) -> Iterator[Feed]:
    """The members of wheels among ``contents`` are read by a helper, from where on it has nothing else to do.

    They must be written in that order. ``readers`` are those of the wheels. Writing raises what reading raises, and
    HelperLost. A block that is left before all is read takes the helper with it.
    """
    reading = _Reading(helper, readers, [content for content in contents if isinstance(content, Archived)])
    with closing(reading):
        yield reading.feed
        reading.finish()


class _Reading:
    """What a helper reads, as it comes."""

    def __init__(self, helper: Helper, readers: Readers, contents: list[Archived]) -> None:
        self._helper = helper
        self._readers = readers
        self._contents = contents
        # How many of them are written, and the bytes that the others have in their wheels.
        self._written = 0
        self._left = sum(content.entry.compressed for content in contents)
        self._batches: Generator[_Batch, None, None] | None = None
        self._steps: Iterator[_Step] = iter(())
        self._data = memoryview(b"")
        self._at = 0

    def feed(self, content: Content, output: Output) -> None:
        if not isinstance(content, Archived):
            content.feed(output)
            return
        if self._batches is None and self._left >= _WORTH_IT and not self._helper.busy:
            self._batches = self._helper.stream(_read, (self._readers, self._contents[self._written :]))
        if self._batches is None:
            content.feed(output)
        else:
            while not self._done(output):
                steps, data = next(self._batches)
                self._steps, self._data, self._at = iter(steps), memoryview(data), 0
        self._written += 1
        self._left -= content.entry.compressed

    def finish(self) -> None:
        """Take the end of the answer: then the helper can be asked again."""
        for _ in self._batches or ():
            pass

    def close(self) -> None:
        if self._batches is not None:
            self._batches.close()

    def _done(self, output: Output) -> bool:
        """Do what is at hand for one content; whether that was all of it."""
        for kind, size, crc in self._steps:
            if kind == _END:
                return True
            if kind == _SPLICE:
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
        return False


def _read(store: Store, asked: tuple[Readers, list[Archived]], send: Callable[[_Batch], object]) -> None:
    """What the helper does."""
    readers, contents = asked
    with ExitStack() as stack:
        splicer = Splicer()
        stack.callback(splicer.close)
        for digest, reader in readers:
            reader.file = stack.enter_context(store.open(digest))
        recorder = _Recorder(splicer, send)
        for content in contents:
            content.feed(recorder)
            recorder.end()
        recorder.flush()


class _Recorder:
    """Implements ``content.Output`` and ``content.Compressing``: what is done to it is sent, to be done elsewhere."""

    def __init__(self, splicer: Splicer, send: Callable[[_Batch], object]) -> None:
        self.splicer = splicer
        self._send = send
        self._steps: list[_Step] = []
        # Sending has copied what is in it: it is filled again and again.
        self._buffer = memoryview(bytearray(_BATCH))
        self._filled = 0

    @property
    def member(self) -> "_Recorder":
        return self

    def raw(self, data: bytes | memoryview) -> None:
        self._keep(_RAW, data)

    def plain(self, data: bytes | memoryview) -> None:
        self._keep(_PLAIN, data)

    def add(self, data: bytes) -> None:
        self._keep(_ADD, data)

    def splice(self) -> None:
        self._steps.append((_SPLICE, 0, 0))

    def spliced(self, crc: int, size: int) -> None:
        self._steps.append((_SPLICED, size, crc))

    def end(self) -> None:
        self._steps.append((_END, 0, 0))

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

        self._send((self._steps, PickleBuffer(self._buffer[: self._filled])))
        self._steps, self._filled = [], 0
