"""Libraries out of a ``Contents`` index."""

import pytest

from dpbuild.debian import contents

TEXT = b"""\
usr/lib/x86_64-linux-gnu/libxcb.so.1                    libs/libxcb1
usr/lib/x86_64-linux-gnu/libxcb.so.1.1.0                libs/libxcb1
usr/lib/x86_64-linux-gnu/libxcb.so                      libdevel/libxcb1-dev
lib/x86_64-linux-gnu/libold.so.2                        libs/libold2
usr/lib/libplain.so.3                                   libs/libplain3
usr/lib/x86_64-linux-gnu/libmagic.so.1                  libs/libmagic1t64
usr/lib/x86_64-linux-gnu/libtwo.so.1                    libdevel/libtwo-dev,libs/libtwo1,libs/libtwo1-extra
usr/lib/x86_64-linux-gnu/odd/libplugin.so.1             libs/odd
usr/share/doc/libxcb.so.1                               doc/xcb-doc
usr/lib/x86_64-linux-gnu/name with blanks.so.1          misc/odd
"""


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_libraries_where_the_loader_looks(size: int) -> None:
    chunks = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    assert contents.libraries(chunks) == {
        "libxcb.so.1": "libxcb1",
        "libxcb.so.1.1.0": "libxcb1",
        "libold.so.2": "libold2",
        "libplain.so.3": "libplain3",
        "libmagic.so.1": "libmagic1t64",
        "libtwo.so.1": "libtwo1",
    }


def test_lookup() -> None:
    known = contents.libraries([TEXT])
    assert contents.lookup(known, ["libxcb.so.1", "libmagic.so.", "libnone.so.1", "libnone.so.", "libxcb"]) == {
        "libxcb.so.1": "libxcb1",
        "libmagic.so.": "libmagic1t64",
    }


def test_it_is_kept() -> None:
    known = contents.libraries([TEXT])
    assert contents.decode(contents.encode(known)) == known
    for data in (b"", b"x", contents.encode(known)[:20]):
        with pytest.raises(ValueError, match="no list of libraries"):
            contents.decode(data)


def test_the_usual_name_of_a_library_s_package() -> None:
    assert contents.likely("libxcb.so.1") == ("libxcb1", "libxcb1t64")
    assert contents.likely("libnetcdf_c4.so.19") == ("libnetcdf-c4-19", "libnetcdf-c4-19t64")
    assert contents.likely("libmagic.so.") == contents.likely("../x") == ()
