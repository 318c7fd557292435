"""Streams that are joined inflate to what they held, however they were made and however they are fed."""

import gzip
import io
import itertools
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpbuild.archive import deflate
from dpbuild.archive.deflate import DeflateError, Splicer
from dpbuild.archive.gzip import LAST, Member, compress

LIBRARIES = [deflate.bundled, deflate.system]


def squeeze(
    data: bytes, level: int = 6, window: int = -15, memory: int = 8, strategy: int = 0, flush: int = 0
) -> bytes:
    engine = zlib.compressobj(level, zlib.DEFLATED, window, memory, strategy)
    out = b""
    step = flush or len(data) or 1
    for start in range(0, len(data), step):
        out += engine.compress(data[start : start + step])
        if flush:
            out += engine.flush(zlib.Z_SYNC_FLUSH)
    return out + engine.flush()


def splice(
    splicer: Splicer, raw: bytes, size: int, chunk: int = 1 << 18, limit: int | None = None
) -> tuple[bytes, bytes]:
    file = io.BytesIO(raw)
    plain, joined = bytearray(), bytearray()
    splicer.splice(
        lambda want: file.read(min(want, chunk)),
        len(raw) if limit is None else limit,
        size,
        plain.extend,
        joined.extend,
    )
    return bytes(plain), bytes(joined)


@pytest.fixture(params=LIBRARIES, ids=["bundled", "system"])
def splicer(request: pytest.FixtureRequest) -> Splicer:
    return Splicer(request.param())


CASES = {
    "empty": (b"", {}),
    "stored": (b"abc" * 50_000, {"level": 0}),
    "fixed codes": (b"hello, hello, hello", {"strategy": zlib.Z_FIXED}),
    "dynamic": (bytes(random.Random(1).choices(b"abcdefgh \n", k=300_000)), {"level": 9}),
    "incompressible": (random.Random(2).randbytes(400_000), {"level": 9}),
    "huffman only": (b"aab" * 9000, {"strategy": zlib.Z_HUFFMAN_ONLY}),
    "small window": (b"0123456789" * 5000, {"window": -9, "memory": 1}),
    "many blocks": (b"line\n" * 40_000, {"flush": 777}),
}


@pytest.mark.parametrize("chunk", [1, 2, 3, 1000, 1 << 18])
@pytest.mark.parametrize("name", CASES)
def test_joined_streams_inflate_to_what_they_held(splicer: Splicer, name: str, chunk: int) -> None:
    data, how = CASES[name]
    raw = squeeze(data, **how)
    plain, joined = splice(splicer, raw, len(data), chunk)
    assert plain == data
    # Twice, with another stream between: nothing may be marked as last and every border must be a byte border.
    whole = zlib.decompress(joined + squeeze(b"between")[:0] + joined + LAST, -15)
    assert whole == data * 2


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=5000),
    level=st.integers(0, 9),
    strategy=st.sampled_from([0, 1, 2, 3, 4]),
    flush=st.sampled_from([0, 1, 100]),
    chunk=st.integers(1, 64),
)
def test_any_stream_joins(data: bytes, level: int, strategy: int, flush: int, chunk: int) -> None:
    raw = squeeze(data, level, strategy=strategy, flush=flush)
    engine = Splicer()
    plain, joined = splice(engine, raw, len(data), chunk)
    engine.close()
    assert plain == data
    assert zlib.decompress(joined + joined + LAST, -15) == data * 2


def test_both_libraries_find_the_same_borders() -> None:
    data = bytes(random.Random(3).choices(b"abcdefgh \n", k=700_000))
    raw = squeeze(data, 6)
    assert splice(Splicer(deflate.bundled()), raw, len(data)) == splice(Splicer(deflate.system()), raw, len(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:-3], "no last block"),
        (lambda raw: raw + b"x", "ends before its declared size"),
        (lambda raw: b"\x07" + raw[1:], "invalid block type"),
        (lambda raw: raw[:-1], "no last block|ends before"),
    ],
)
def test_broken_streams_are_refused(splicer: Splicer, change: object, message: str) -> None:
    data = bytes(range(256)) * 40
    raw = squeeze(data)
    with pytest.raises(DeflateError, match=message):
        splice(splicer, change(raw), len(data))  # type: ignore[operator]


def test_a_stream_may_not_hold_more_than_declared(splicer: Splicer) -> None:
    raw = squeeze(bytes(10_000_000))
    with pytest.raises(DeflateError, match="more data than was declared"):
        splice(splicer, raw, 1000)


def test_padding_of_the_last_byte_does_not_matter(splicer: Splicer) -> None:
    data = b"some text, some text"
    raw = squeeze(data)
    engine = zlib.decompressobj(-15)
    assert engine.decompress(raw) == data
    for bit in range(8):
        changed = raw[:-1] + bytes([raw[-1] | 1 << bit])
        try:
            ok = zlib.decompress(changed, -15) == data
        except zlib.error:
            continue
        if ok:
            assert splice(splicer, changed, len(data)) == splice(splicer, raw, len(data))


def test_a_splicer_goes_on_after_an_error(splicer: Splicer) -> None:
    with pytest.raises(DeflateError):
        splice(splicer, b"\xff\xff", 10)
    assert splice(splicer, squeeze(b"fine"), 4)[0] == b"fine"


def test_a_member_is_one_gzip_file(splicer: Splicer) -> None:
    out, plain = bytearray(), bytearray()
    member = Member(out.extend, plain.extend)
    expected = b""
    for number in range(20):
        own = b"header %d" % number * number
        member.add(own)
        data = bytes([number]) * 1000 * number
        member.splice()
        _, joined = splice(splicer, squeeze(data), len(data))
        out += joined
        member.spliced(zlib.crc32(data), len(data))
        expected += own + data
    member.finish()
    assert gzip.decompress(bytes(out)) == expected
    assert member.size == len(expected)
    assert zlib.decompressobj(31).decompress(bytes(out)) == expected  # one member, nothing behind it


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3_000_000), max_size=6), st.integers(1, 5))
def test_compressed_bytes_do_not_depend_on_how_they_are_fed(cuts: list[int], seed: int) -> None:
    data = (random.Random(seed).randbytes(1000) + b"filler") * 1500
    points = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    parts = [data[a:b] for a, b in itertools.pairwise(points)]
    assert b"".join(compress(parts)) == b"".join(compress([data]))


def test_compressed_bytes_are_pinned() -> None:
    """If this fails, every layer that dpbuild compresses gets another digest: raise FORMAT, and say so in CHANGELOG."""
    import hashlib

    data = b"".join(b"%d, %x\n" % (n, n * n) for n in range(200_000))
    assert gzip.decompress(b"".join(compress([data]))) == data
    assert hashlib.sha256(b"".join(compress([data]))).hexdigest() == PINNED


PINNED = "df38f432b4907ac0d4047285d76ebd0e8964eaecc8c6038d5c40aae8c575b054"
