"""Plain requirements, by what packaging says of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from dpbuild.pypa.names import normalised
from dpbuild.pypa.requirement import plain

SPACE = st.sampled_from(["", " ", "\t", "  "])
VERSION = st.lists(st.sampled_from(["0", "1", "2", "10", "2024"]), min_size=1, max_size=4).map(".".join)
ONE = st.tuples(st.sampled_from(["==", "!=", ">=", "<=", "<", ">", "~=", "==="]), SPACE, VERSION).map("".join)


@given(st.sampled_from(["a", "Flask", "zope.interface", "a_b-C", "0x"]), SPACE, st.lists(ONE, max_size=3), SPACE)
def test_what_is_plain_is_written_as_packaging_does(name: str, before: str, ones: list[str], after: str) -> None:
    line = f"{before}{name}{after}{f'{after},{before}'.join(ones)}{before}"
    found = plain(line)
    if found is not None:
        requirement = Requirement(line)
        assert found == (requirement.name, str(requirement))


@given(st.text(alphabet="aB1.-_ \t\n\r\u00e4=<>!~,;[]()@*+", max_size=12))
def test_what_packaging_does_not_read_is_not_plain(line: str) -> None:
    try:
        told = Requirement(line)
    except InvalidRequirement:
        assert plain(line) is None
    else:
        assert plain(line) in (None, (told.name, str(told)))


@pytest.mark.parametrize("line", ["numpy", "Flask==3.0.1", " a >= 1, < 2 "])
def test_what_is_plain(line: str) -> None:
    assert plain(line) is not None


@pytest.mark.parametrize("line", ["a>=1,>=2", "a[b]", "a==1.*", "a~=1.0", "a==1rc1", "a; os_name == 'x'", "a==01"])
def test_what_is_left_to_packaging(line: str) -> None:
    assert plain(line) is None


@given(st.text(alphabet="aB1.-_", max_size=12))
def test_names_are_normalised_as_packaging_does(name: str) -> None:
    assert normalised(name) == canonicalize_name(name)
