"""Joining deflate streams (RFC 1951) without compressing them again.

A deflate stream is a row of blocks, each beginning with a bit that says whether it is the last one. With
that bit cleared and an empty stored block behind the end, so that the next stream begins at a byte border,
streams can be put one after the other. To find the bit the stream has to be inflated once, stopping at each
block; that is done anyway, for the hashes. Python's own module has no way to stop at a block, so the library
inside the pinned compressor's extension module is called through ctypes, or else the system's zlib; what
inflating gives and where blocks begin is a matter of the format, not of the library.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Final

from dpbuild.errors import StoreError

# zlib.h: flush values and return codes.
_Z_BLOCK: Final = 5
_Z_OK: Final = 0
_Z_BUF_ERROR: Final = -5
# zlib.h, "inflate": bits of data_type.
_AT_BLOCK_END: Final = 128
_IN_LAST_BLOCK: Final = 64
_UNUSED_BITS: Final = 7
# RFC 1951, 3.2.4: length 0 and its complement; the three bits before them are zero and padded to a byte.
_EMPTY_STORED: Final = b"\0\0\xff\xff"

_INPUT: Final = 256 * 1024
_OUTPUT: Final = 256 * 1024


class DeflateError(ValueError):
    """The stream is not valid deflate, or does not end where it was said to end."""


class _NgStream(ctypes.Structure):
    """``zng_stream`` of zlib-ng.h."""

    _fields_ = (
        ("next_in", ctypes.c_char_p),
        ("avail_in", ctypes.c_uint32),
        ("total_in", ctypes.c_size_t),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint32),
        ("total_out", ctypes.c_size_t),
        ("msg", ctypes.c_char_p),
        ("state", ctypes.c_void_p),
        ("zalloc", ctypes.c_void_p),
        ("zfree", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("data_type", ctypes.c_int),
        ("adler", ctypes.c_uint32),
        ("reserved", ctypes.c_ulong),
    )


class _ZStream(ctypes.Structure):
    """``z_stream`` of zlib.h."""

    _fields_ = (
        ("next_in", ctypes.c_char_p),
        ("avail_in", ctypes.c_uint),
        ("total_in", ctypes.c_ulong),
        ("next_out", ctypes.c_void_p),
        ("avail_out", ctypes.c_uint),
        ("total_out", ctypes.c_ulong),
        ("msg", ctypes.c_char_p),
        ("state", ctypes.c_void_p),
        ("zalloc", ctypes.c_void_p),
        ("zfree", ctypes.c_void_p),
        ("opaque", ctypes.c_void_p),
        ("data_type", ctypes.c_int),
        ("adler", ctypes.c_ulong),
        ("reserved", ctypes.c_ulong),
    )


class _Ng:
    """The library inside zlib_ng's extension module."""

    stream = _NgStream

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        self._init, self._inflate = library.zng_inflateInit2, library.zng_inflate
        self._reset, self._end = library.zng_inflateReset, library.zng_inflateEnd

    def start(self, stream: ctypes.Structure) -> int:
        return int(self._init(ctypes.byref(stream), ctypes.c_int32(-15)))

    def step(self, stream: ctypes.Structure) -> int:
        return int(self._inflate(ctypes.byref(stream), ctypes.c_int32(_Z_BLOCK)))

    def reset(self, stream: ctypes.Structure) -> int:
        return int(self._reset(ctypes.byref(stream)))

    def end(self, stream: ctypes.Structure) -> int:
        return int(self._end(ctypes.byref(stream)))


class _System:
    """The system's zlib."""

    stream = _ZStream

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        library.zlibVersion.restype = ctypes.c_char_p
        self._version = library.zlibVersion()
        self._init, self._inflate = library.inflateInit2_, library.inflate
        self._reset, self._end = library.inflateReset, library.inflateEnd

    def start(self, stream: ctypes.Structure) -> int:
        size = ctypes.c_int(ctypes.sizeof(stream))
        return int(self._init(ctypes.byref(stream), ctypes.c_int(-15), self._version, size))

    def step(self, stream: ctypes.Structure) -> int:
        return int(self._inflate(ctypes.byref(stream), ctypes.c_int(_Z_BLOCK)))

    def reset(self, stream: ctypes.Structure) -> int:
        return int(self._reset(ctypes.byref(stream)))

    def end(self, stream: ctypes.Structure) -> int:
        return int(self._end(ctypes.byref(stream)))


def bundled() -> _Ng:
    """zlib-ng as the pinned package carries it. Raises OSError or AttributeError where it hides its symbols."""
    from zlib_ng import zlib_ng

    return _Ng(str(zlib_ng.__file__))


def system() -> _System:
    """The system's zlib. Raises OSError where there is none."""
    # Imports half of subprocess: for the few that need it.
    from ctypes.util import find_library

    name = find_library("z")
    if name is None:
        raise OSError("no libz")
    return _System(name)


@functools.cache
def _library() -> _Ng | _System:
    try:
        return bundled()
    except (OSError, AttributeError):
        pass
    try:
        return system()
    except (OSError, AttributeError):
        raise StoreError(
            "no zlib with inflateInit2 can be loaded",
            hint="install zlib, or zlib-ng from a wheel instead of from source",
        ) from None


class Splicer:
    """Inflates streams and hands on both sides: plain bytes, and blocks that can be joined.

    One splicer serves many streams, one after the other; it is not for several threads at once.
    """

    def __init__(self, library: "_Ng | _System | None" = None) -> None:
        self._library = library or _library()
        self._stream = self._library.stream()
        if self._library.start(self._stream) != _Z_OK:
            raise MemoryError("inflateInit2 failed")
        self._used = False
        self._output = (ctypes.c_ubyte * _OUTPUT)()
        self._view = memoryview(self._output).cast("B")

    def close(self) -> None:
        """Give the library's memory back."""
        self._library.end(self._stream)

    def splice(
        self,
        read: Callable[[int], bytes],
        size: int,
        limit: int,
        plain: Callable[[memoryview], object],
        joined: Callable[[memoryview], object],
    ) -> int:
        """Inflate one stream of exactly ``size`` bytes that ``read`` delivers, to ``limit`` bytes at the most.

        ``plain`` gets the uncompressed bytes, ``joined`` the blocks, none of them marked as last, ending at a byte
        border; neither may keep a view, whose memory is used again after the call. Returns the uncompressed size.
        Raises DeflateError; what was handed on by then must be thrown away.
        """
        stream, library = self._stream, self._library
        if self._used:
            library.reset(stream)
        self._used = True
        patcher = _Patcher(joined)
        address = ctypes.addressof(self._output)
        filled = produced = taken = 0
        pending = 0  # the bit where the next block begins and that was not looked at yet, or -1
        border = end = -1  # where the newest block and the whole stream were seen to end, in bits
        while taken < size and end < 0:
            chunk = read(min(size - taken, _INPUT))
            if not chunk:
                raise DeflateError("the data ends too early")
            patcher.extend(chunk)
            # The structure keeps a reference to the bytes.
            stream.next_in = chunk
            stream.avail_in = len(chunk)
            while True:
                if 0 <= pending < 8 * (taken + len(chunk)):
                    patcher.clear(pending)
                    pending = -1
                stream.next_out = address + filled
                stream.avail_out = room = _OUTPUT - filled
                code = library.step(stream)
                if code not in (_Z_OK, _Z_BUF_ERROR):
                    raise DeflateError(stream.msg.decode("ascii", "replace") if stream.msg else f"code {code}")
                made = room - stream.avail_out
                filled += made
                produced += made
                if produced > limit:
                    raise DeflateError("more data than was declared")
                if filled == _OUTPUT:
                    plain(self._view)
                    filled = 0
                state = stream.data_type
                if state & _AT_BLOCK_END:
                    here = 8 * (taken + len(chunk) - stream.avail_in) - (state & _UNUSED_BITS)
                    # Standing at a border and lacking input is reported as the same border once more.
                    if here != border:
                        border = here
                        if state & _IN_LAST_BLOCK:
                            end = here
                            break
                        pending = here
                        continue
                # A full buffer may have stopped it, with more to come from what was taken in already.
                if code == _Z_BUF_ERROR or (stream.avail_in == 0 and made < room):
                    break
            taken += len(chunk)
        if end < 0:
            raise DeflateError("the stream has no last block")
        if taken != size or (end + 7) // 8 != size:
            raise DeflateError("the stream ends before its declared size")
        if filled:
            plain(self._view[:filled])
        patcher.finish(end)
        return produced


class _Patcher:
    """Passes compressed bytes on, with last-block bits cleared and the end aligned.

    The newest byte is held back, since the next block may begin inside it.
    """

    def __init__(self, write: Callable[[memoryview], object]) -> None:
        self._write = write
        self._buffer = bytearray()
        self._offset = 0

    def extend(self, chunk: bytes) -> None:
        buffer = self._buffer
        if len(buffer) > 1:
            self._write(memoryview(buffer)[:-1])
            self._offset += len(buffer) - 1
            buffer = buffer[-1:]
        buffer += chunk
        self._buffer = buffer

    def clear(self, bit: int) -> None:
        """Clear the bit at this offset in the stream, the first one of a block."""
        self._buffer[bit // 8 - self._offset] &= ~(1 << (bit % 8)) & 0xFF

    def finish(self, end: int) -> None:
        """``end`` is the offset of the first bit behind the stream."""
        used = end % 8
        if used:
            # What pads the last byte may be anything; the empty block's three bits of zeros go there.
            self._buffer[-1] &= (1 << used) - 1
        self._buffer += _EMPTY_STORED if 0 < used <= 5 else b"\0" + _EMPTY_STORED
        self._write(memoryview(self._buffer))
