"""Where a loader says that it looks."""

import pytest

from dpbuild.elf import folders


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\0/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0/var\0", 4),
        (b"\0/lib64/\0/usr/lib64/\0", 2),
        (b"\0/lib/\0/lib/\0", 1),
        (b"\0/lib/\0no folder\0", 0),
        (b"\0/etc/\0/var/\0", 0),
        (b"", 0),
    ],
)
def test_folders_that_end_with_a_slash_and_follow_each_other(data: bytes, found: int) -> None:
    rows = folders.built_in(data)
    assert rows == folders.built_in(memoryview(data))
    assert list(rows) == [row.rstrip("/") for row in data[1:].decode().split("\0")][:found]


def test_what_is_too_large_for_a_loader_is_none() -> None:
    data = b"\0/lib/\0/usr/lib/\0"
    assert folders.built_in(data + bytes((16 << 20) - len(data))) == ("/lib", "/usr/lib")
    assert folders.built_in(data + bytes(16 << 20)) == ()


@pytest.mark.parametrize("part", [b"/lib", b"/lib/", b"/"])
def test_nonsense_takes_no_longer_than_its_length(part: bytes) -> None:
    """And not the cube of it, which would be hours."""
    assert folders.built_in(part * 100_000 + b"\0") == ()
    assert folders.built_in(part * 100_000 + b"\0/lib/\0/usr/lib/\0")[-2:] == ("/lib", "/usr/lib")
