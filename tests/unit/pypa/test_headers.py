"""Headers are read as Python's email package reads them, which is what the specs ask for."""

from email.parser import HeaderParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dpbuild.pypa.headers import Headers

_LINES = st.sampled_from(
    [
        "Name: numpy",
        "name:numpy ",
        "NAME : x",
        "Requires-Dist: a; extra == 'b'",
        "Requires-Dist:  c>1",
        "  and more",
        "\tand more",
        "",
        " ",
        ": nothing",
        "From somebody",
        "From: somebody",
        "no header",
        "Näme: x",
        "License: MIT\x0b\x1c\u2028 and more",
    ]
)


@given(lines=st.lists(_LINES, max_size=8), end=st.sampled_from(["\n", "\r\n", "\r"]), last=st.booleans())
@example(lines=["From a", " b", "Name: c", "From d", " e", "Name: f"], end="\n", last=True)
def test_it_reads_what_email_reads(lines: list[str], end: str, last: bool) -> None:
    text = end.join(lines) + (end if last else "")

    message = HeaderParser().parsestr(text)
    ours = Headers(text)
    for name in {*map(str, message), "name", "requires-dist", "from", "license"}:
        theirs = [str(value).replace(end, "\n").strip() for value in message.get_all(name) or ()]
        assert list(ours.every(name)) == theirs
        assert ours.first(name) == next(iter(theirs), "")


@pytest.mark.parametrize("name", ["Name", "NAME", "name"])
def test_a_name_in_any_case(name: str) -> None:
    assert Headers("nAme: x\n\nName: y\n").every(name) == ("x",)
