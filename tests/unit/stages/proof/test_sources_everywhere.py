"""What is told of a source wherever it is installed: the same as walking all of it gives."""

import pytest

from dpbuild.archive.entry import Entry, Kind
from dpbuild.stages.proof import scan, sources

SOURCES = (
    b"import os, distutils\nfrom ctypes import CDLL\n",
    b"from \\\n    distutils \\\n    import core  # CDLL\n",
    b"try:\n    import imp\nexcept ImportError:\n    imp = None\nimport pkg_resources\n",
    (
        b"@decorate(\n    CDLL('libone.so')\n)\nclass A:\n    def inner(self):\n        return ctypes.util.find_library(\n"
        b"            'two'\n        )\n"
    ),
    b"if True:\n    with suppress(OSError):\n        ffi.dlopen(\n            name\n        )\nelse:\n    import tkinter\n",
    b"a = 1\r\nb = [\r\n  PyDLL('x'),\r\n  cdll.LoadLibrary(y)]\r\nfrom pkg_resources import a\r\n",
    b"a = 1\rfrom setuptools import b\rpkg_resources\r",
    b"def f(a=CDLL('z'), *, b: find_library('q') = 1) -> dlopen('r'):\n    import_module('distutils.core')\n",
    b"match a:\n    case 1 if CDLL(b):\n        import pip\n        lambda: CDLL('c')\n",
    b"x = [CDLL(n) for n in find_library('m') if LoadLibrary(o)]\n",
    b"import foo,\\\n    pkg_resources\n",
    b"import os,\tpkg_resources\n",
    b"import\tpkg_resources\nfrom\tpip import x\n",
    b"import a\tas b, pkg_resources\n",
    "import é, pip\nfrom setuptools.é import x\n".encode(),
    b"(ctypes.CDLL)('x')\n",
    b"(CDLL # c\n ('x'))\n",
    b"from ctypes import PyDLL\nPyDLL('x')\n",
    b"__import__('pkg_resources').declare_namespace(__name__)\n",
    b"not python ( find_library\n",
)


@pytest.mark.parametrize("data", SOURCES)
def test_it_is_what_walking_the_whole_source_finds(data: bytes) -> None:
    matter = tuple(
        row
        for row in sources.uses(data)
        if row.kind in ("find_library", "load_library") or (row.kind == "import" and row.name in sources.MODULES)
    )
    assert sources.everywhere(data) == matter
    assert matter or b"not python" in data


def test_what_is_of_no_interest_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(data: bytes) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(sources, "parse", never)
    for data in (
        b"import os\nsubprocess.run(['git'])\n",
        b"# As CDLL, and from pip and setuptools\nNAMES = ['LoadLibrary', 'dlopen']\n",
        b"warnings.filterwarnings('ignore', 'the pkg_resources of old')\n",
    ):
        assert sources.everywhere(data) == ()
    assert sources.everywhere(b"ctypes.CDLL('x')\n", loads=False) == ()


def test_of_sources_for_tests_only_imports_are_asked_for() -> None:
    data = b"import pip\nctypes.CDLL('x')\n"

    found = [scan.told(Entry(path, Kind.FILE, 0o644, size=len(data)), data).uses for path in ("a/tests/x.py", "a/x.py")]
    assert [[row.kind for row in uses] for uses in found] == [["import"], ["import", "load_library"]]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import " + ", ".join(f"a{number}" for number in range(200)), False),
        ("from b import " + ", ".join(f"a{number} as b" for number in range(200)), False),
        ("import " + "a,  " * 20_000, False),
        ("import " + "a.b as c , " * 40 + "imp", True),
        ("import " + "a,b,  c.d,imp", True),
    ],
    ids=["modules", "names", "spaces", "late", "close"],
)
def test_a_line_with_many_names_is_read_to_its_end(line: str, found: bool) -> None:
    """Where each name could be read in two ways, forty of them took for ever."""
    assert sources.interesting(line.encode()) == found
