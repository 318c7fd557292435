"""Distributions of an image as components: names, licences, files, and who needs whom."""

import hashlib

import pytest

from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.pypa.markers import environment
from dpbuild.stages.evidence.component import Component, License
from dpbuild.stages.evidence.distributions import distributions
from dpbuild.stages.evidence.sbom import _roots
from dpbuild.stages.inventory import Inventory, InventoryContents

ENVIRONMENT = environment("3.13.5", "x86_64")


def read(files: dict[str, str], *, python: bool = True) -> dict[str, Component]:
    entries = [Entry(path=path, kind=Kind.FILE, mode=0o644, size=len(text)) for path, text in files.items()]
    hashes = {number: hashlib.sha256(text.encode()).hexdigest() for number, text in enumerate(files.values())}
    contents = {number: text.encode() for number, text in enumerate(files.values())}
    tree = FileTree.of([entries])
    found = distributions(
        tree, InventoryContents(tree, (Inventory(hashes, contents),)), ENVIRONMENT if python else None
    )
    return {row.ref.removeprefix("pkg:pypi/"): row for row in found}


def metadata(name: str, version: str, *lines: str) -> str:
    return "\n".join(["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines, "", "Name: in the body"])


def installed(name: str, *lines: str, site: str = "site") -> dict[str, str]:
    return {f"{site}/{name}-1.dist-info/METADATA": metadata(name, "1", *lines)}


def needs(*packages: dict[str, str], python: bool = True) -> dict[str, set[str]]:
    files = {path: text for package in packages for path, text in package.items()}
    rows = read(files, python=python).items()
    return {
        ref.partition("@")[0]: {each.removeprefix("pkg:pypi/").partition("@")[0] for each in row.needs}
        for ref, row in rows
    }


def test_an_extra_counts_where_it_is_asked_for() -> None:
    server = installed("server", "Provides-Extra: fast", 'Requires-Dist: loop; extra == "fast"')
    loop = installed("loop")
    assert needs(server, loop, installed("app", "Requires-Dist: server")) == {
        "server": set(), "loop": set(), "app": {"server"}
    }  # fmt: skip
    assert needs(server, loop, installed("app", "Requires-Dist: server[Fast]"))["server"] == {"loop"}
    # Also by way of the distribution's own extras.
    whole = installed("server", 'Requires-Dist: server[fast]; extra == "all"', 'Requires-Dist: loop; extra == "fast"')
    assert needs(whole, loop, installed("app", "Requires-Dist: server[all]"))["server"] == {"loop"}


def test_markers_are_those_of_the_image() -> None:
    app = installed(
        "app",
        'Requires-Dist: here; python_version >= "3.13"',
        'Requires-Dist: there; sys_platform == "win32"',
        "Requires-Dist: any",
        "Requires-Dist: not a requirement!",
        "Requires-Dist: absent",
    )
    others = [installed(name) for name in ("here", "there", "any")]
    assert needs(app, *others)["app"] == {"here", "any"}
    assert needs(app, *others, python=False)["app"] == {"any"}


def test_a_vendored_copy_is_listed_and_not_what_others_need() -> None:
    found = read(
        installed("six")
        | installed("pip")
        | installed("six", site="site/pip/_vendor")
        | installed("app", "Requires-Dist: six")
    )
    assert found.keys() == {"six@1", "pip@1", "app@1", "six@1#/site/pip/_vendor/six-1.dist-info"}
    assert found["app@1"].needs == {"pkg:pypi/six@1"}
    assert found["six@1"].location == "/site/six-1.dist-info"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: mit or apache-2.0"], (License(expression="MIT OR Apache-2.0"),)),
        (["License-Expression: Mine", "License: MIT"], (License(name="Mine"),)),
        (["License: BSD-3-Clause"], (License(expression="BSD-3-Clause"),)),
        (["License: The Acme Licence"], (License(name="The Acme Licence"),)),
        (
            [f"License: {'A long text. ' * 20}", "Classifier: License :: OSI Approved :: MIT License"],
            (License(name="MIT License"),),
        ),
        (["License: UNKNOWN", "Classifier: License :: OSI Approved"], ()),
        (["Classifier: Programming Language :: Python"], ()),
    ],
)
def test_licences(lines: list[str], expected: tuple[License, ...]) -> None:
    assert read(installed("a", *lines))["a@1"].licenses == expected


def test_files_are_those_that_are_there() -> None:
    record = "a.py,sha256=lies,1\n../bin/a,,\ngone.py,,\na-1.dist-info/RECORD,,\n"
    files = installed("a") | {"site/a-1.dist-info/RECORD": record, "site/a.py": "x", "bin/a": "y"}
    sha256 = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in files.items()}
    assert read(files)["a@1"].files == tuple(
        (f"/{path}", sha256[path]) for path in ("bin/a", "site/a-1.dist-info/RECORD", "site/a.py")
    )


def test_everything_hangs_together() -> None:
    assert _roots("abc", {"a": ["b"], "b": ["c"]}) == ["a"]
    # Circles that nothing leads to begin at their first member.
    assert _roots("abcd", {"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}) == ["a", "c"]
    assert _roots("abc", {"b": ["c"], "c": ["b"], "a": []}) == ["a", "b"]
