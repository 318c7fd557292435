"""What a helper and the process that asks it say to each other, and how.

They speak over the helper's standard input and output: each message is a pickle, and large pieces of memory beside it,
behind the lengths of all. Nobody else can write to these pipes. What a stream sends lies in memory that both share
instead, if there is room: a message then only says where, and is answered with a byte when its memory may be used
again. With what is asked and answered each tells the other which blobs of the store it has verified: none is hashed
by both.
"""

import pickle
import struct
from typing import Any, BinaryIO, Final

from dpbuild.adapters import shared
from dpbuild.adapters.store import DiskStore

# What is asked: one answer, or all that is sent on the way to it.
RUN: Final = "run"
STREAM: Final = "stream"
# What says that a message of a stream was read.
READ: Final = b"r"
# The first that leaves large pieces of memory where they are.
_PROTOCOL: Final = 5
# What precedes each message: how many pieces there are with the pickle, and 1 more than the slot that holds the others.
_HEAD: Final = struct.Struct(">QQ")


def send(file: BinaryIO, message: object, slots: shared.Slots | None = None, slot: int = 0) -> None:
    """Write a message, its large pieces into one of the ``slots`` if there are any. Raises OSError."""
    beside: list[memoryview] = []
    data = pickle.dumps(message, _PROTOCOL, buffer_callback=lambda each: beside.append(each.raw()))
    put = bool(beside) and slots is not None and slots.put(slot, beside)
    lengths = [len(data), *map(len, beside)]
    file.write(_HEAD.pack(len(lengths), slot + 1 if put else 0))
    file.write(struct.pack(f">{len(lengths)}Q", *lengths))
    file.write(data)
    for part in () if put else beside:
        file.write(part)
    file.flush()


def receive(file: BinaryIO, slots: shared.Slots) -> Any:
    """The next message. Raises EOFError when the other side has ended."""
    count, slot = _HEAD.unpack(_exactly(file, _HEAD.size))
    length, *lengths = struct.unpack(f">{count}Q", _exactly(file, 8 * count))
    data = _exactly(file, length)
    beside = slots.get(slot - 1, lengths) if slot else [_exactly(file, each) for each in lengths]
    # Written by our own code at the other end of a pipe that nobody else has.
    return pickle.loads(data, buffers=beside)  # noqa: S301


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError("the other process has ended")
    return data


def verified(store: DiskStore) -> list[str]:
    """The blobs that this process has verified; as plain text, which pickles quickly."""
    return [digest.hex for digest in store.verified()]
