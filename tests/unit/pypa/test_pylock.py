import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.pylock import Pylock

from dpbuild.errors import LockError
from dpbuild.pypa import pylock
from dpbuild.pypa.pylock import Document, LockedFile, LockedPackage

SHA = "0123456789abcdef" * 4


def wheel(name, **more):
    return LockedFile(name=name, sha256=SHA, url=f"https://files.example.org/a%2Bb/{name}", **more)


DOCUMENT = Document(
    packages=(
        LockedPackage(
            name="b", version="1", wheels=(wheel("b-1-py3-none-any.whl"), wheel("b-1-cp313-cp313-linux_x86_64.whl"))
        ),
        LockedPackage(
            name="a",
            version="2.0",
            marker="sys_platform == 'linux'",
            sdist=LockedFile(name="a-2.0.tar.gz", sha256=SHA, path="dist/a-2.0.tar.gz", size=7),
        ),
    ),
    requires_python="==3.13.*",
    environments=("sys_platform == 'linux'",),
    extras=("x",),
    dependency_groups=("g",),
    default_groups=("g",),
    tool={
        "dpbuild": {
            "n": 1,
            "odd key": 'ü"\\\n\x7f',
            "empty": (),
            "base": {"rows": [{"a": "1", "facts": {"b": "2"}}, {"a": "3", "facts": {}, "list": [{"x": "y"}]}]},
        }
    },
)


def test_what_is_written_is_read_again():
    text = pylock.dumps(DOCUMENT)
    again = pylock.loads(text)
    assert {row.name: row for row in again.packages}["a"] == DOCUMENT.packages[1]
    assert pylock.dumps(again) == text
    assert tomllib.loads(text)["tool"]["dpbuild"]["odd key"] == 'ü"\\\n\x7f'
    assert tomllib.loads(text)["tool"]["dpbuild"]["base"]["rows"][1]["list"] == [{"x": "y"}]


def test_the_order_of_the_input_does_not_show():
    turned = replace(
        DOCUMENT, packages=tuple(replace(row, wheels=row.wheels[::-1]) for row in reversed(DOCUMENT.packages))
    )
    assert pylock.dumps(turned) == pylock.dumps(DOCUMENT)


def test_packaging_accepts_it():
    found = Pylock.from_dict(tomllib.loads(pylock.dumps(DOCUMENT)))
    assert [(str(row.name), str(row.version)) for row in found.packages] == [("a", "2.0"), ("b", "1")]
    assert str(found.requires_python) == "==3.13.*"
    assert Pylock.from_dict(tomllib.loads(pylock.dumps(Document(packages=())))).packages == []


def test_a_name_stands_there_only_where_the_address_does_not_say_it():
    odd = LockedFile(name="b-1-py3-none-any.whl", sha256=SHA, url="https://files.example.org/download?id=7")
    text = pylock.dumps(Document(packages=(LockedPackage(name="b", version="1", wheels=(odd,)),)))
    assert 'name = "b-1-py3-none-any.whl"' in text
    assert pylock.loads(text).packages[0].wheels == (odd,)
    assert 'name = "b-1-py3' not in pylock.dumps(DOCUMENT)


def test_file_names_in_addresses_are_unquoted():
    assert (
        pylock.basename("https://e.example.org/x/torch-2%2Bcpu-py3-none-any.whl?a=b#c")
        == "torch-2+cpu-py3-none-any.whl"
    )
    assert pylock.basename("dist/x-1.whl") == "x-1.whl"


HEAD = 'lock-version = "1.0"\ncreated-by = "x"\n'


@pytest.mark.parametrize(
    ("row", "unsupported"),
    [
        ('vcs = {type = "git", url = "https://example.org/x.git", commit-id = "1"}', "git"),
        ('directory = {path = "member"}', "folder: member"),
        (f'archive = {{url = "https://example.org/x-1.zip", hashes = {{sha256 = "{SHA}"}}}}', "not a wheel: x-1.zip"),
    ],
)
def test_packages_that_are_no_wheels_are_marked(row, unsupported):
    (package,) = pylock.loads(f'{HEAD}[[packages]]\nname = "X_y"\n{row}\n').packages
    assert package.name == "x-y"
    assert unsupported in package.unsupported


def test_an_archive_that_is_a_wheel_is_one():
    row = f'archive = {{url = "https://example.org/x-1-py3-none-any.whl", hashes = {{sha256 = "{SHA}"}}}}'
    (package,) = pylock.loads(f'{HEAD}[[packages]]\nname = "x"\nversion = "1"\n{row}\n').packages
    assert package.wheels[0].name == "x-1-py3-none-any.whl"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("packages = [", "not valid TOML"),
        ('created-by = "x"', "lock-version"),
        ('lock-version = "2.0"\ncreated-by = "x"', "version '2.0'"),
        ('lock-version = "1.0"', "created-by must be a string"),
        (HEAD + "packages = 3", "packages must be an array of tables"),
        (HEAD + "[[packages]]\nname = 3", r"packages\[0\].name must be a string"),
        (HEAD + '[[packages]]\nname = "x"\nwheels = [{}]', r"packages\[0\].wheels\[0\] must be"),
        (
            HEAD + '[[packages]]\nname = "x"\nwheels = [{url = "u", hashes = {sha256 = "abc"}}]',
            r"wheels\[0\].hashes.sha256 must be 64",
        ),
        (HEAD + '[[packages]]\nname = "x"\nwheels = [{url = "u", size = true, hashes = {}}]', r"wheels\[0\].size"),
        (HEAD + "environments = [1]", "environments must be an array of strings"),
        (HEAD + "tool = 1", "tool must be a table"),
    ],
)
def test_a_damaged_lock_is_an_error_that_names_the_key(text, said):
    with pytest.raises(LockError, match=said) as caught:
        pylock.loads(text, "some.toml")
    assert caught.value.where == "some.toml"
    assert caught.value.exit_code == 40


@given(
    st.dictionaries(
        st.text(), st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.lists(st.text()))
    )
)
def test_any_value_survives(table):
    # Lone surrogates are no text in TOML.
    if any("\ud800" <= letter <= "\udfff" for letter in repr(table)):
        return
    text = pylock.dumps(Document(packages=(), tool={"t": table} if table else {}))
    assert tomllib.loads(text).get("tool", {}).get("t", {}) == table
