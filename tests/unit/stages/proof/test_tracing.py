"""What importing a module does, followed through sources."""

import pytest
from factories.elf import make_elf
from factories.image import Files
from factories.subject import SITE, make_subject

from dpbuild.stages.proof.extensions import modules
from dpbuild.stages.proof.loader import Loader
from dpbuild.stages.proof.tracing.finder import Finder
from dpbuild.stages.proof.tracing.graph import Graph, Source
from dpbuild.stages.proof.tracing.libraries import Libraries
from dpbuild.stages.proof.tracing.trace import Budget, Trace, Tracer

BROKEN = make_elf(needed=("libnone.so.1",))
FINE = make_elf(needed=("libc.so.6",))


def trace(files: dict[str, str | bytes], module: str = "pkg") -> Trace:
    """Follow ``import module``; all sources of the image's packages are followed."""
    layer: Files = {f"{SITE}/{name}": body for name, body in files.items()}
    subject = make_subject(layer)
    assert subject.facts is not None
    every = tuple(modules(subject, subject.facts))
    names = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files}
    broken = frozenset(f"/{SITE}/{name}" for name, body in files.items() if body == BROKEN and name.endswith("lib.so"))
    libraries = Libraries(subject, subject.facts, Loader(subject, subject.facts), broken=broken)
    return Tracer(
        subject, subject.facts, libraries, Finder(subject, subject.facts, every), frozenset(names), Budget()
    ).trace(module)


def fails(source: str, **more: str | bytes) -> bool:
    """Whether ``import pkg`` fails where pkg/_native is broken and pkg/_good is not."""
    files = {"pkg/__init__.py": source, "pkg/_native.abi3.so": BROKEN, "pkg/_good.abi3.so": FINE}
    return trace({**files, **{f"pkg/{name}.py": body for name, body in more.items()}}).fails


FAILING = {
    "plainly": "from . import _native",
    "by its full name": "import pkg._native",
    "through another module": "from .inner import x",
    "in a condition that holds": "import sys\nif sys.platform == 'linux':\n    import pkg._native",
    "for this version": "import sys\nif sys.version_info >= (3, 10):\n    import pkg._native",
    "either way": "import os\nif os.urandom(1):\n    from . import _native\nelse:\n    import pkg._native",
    "in a function that is called": "def load():\n    from . import _native\nload()",
    "in a constructor": "class A:\n    def __init__(self):\n        from . import _native\nA()",
    "in a class": "class A:\n    from . import _native",
    "caught and raised again": "try:\n    from . import _native\nexcept ImportError as e:\n    raise RuntimeError('no') from e",
    "caught as something else": "try:\n    from . import _native\nexcept KeyError:\n    pass",
    "caught and bare": "try:\n    from . import _native\nexcept ImportError:\n    raise",
    "by name": "import importlib\nimportlib.import_module('pkg._native')",
    "by relative name": "import importlib\nimportlib.import_module('._native', __package__)",
    "after a loop": "for name in ('a', 'b'):\n    pass\nelse:\n    from . import _native",
    "dlopen": "import ctypes\nctypes.CDLL('libnone.so.1')",
    "dlopen of a file": "import ctypes, os\nctypes.CDLL(os.path.join(os.path.dirname(__file__), '_native.abi3.so'))",
    "find_library": "from ctypes.util import find_library as f\nif f('none') is None:\n    raise ImportError('none')",
    "find_library not": "import ctypes.util\nif not ctypes.util.find_library('none'):\n    raise ImportError('none')",
    "a file that the image lacks": "import os\nif not os.path.exists('/usr/lib/none'):\n    from . import _native",
    "find_library in an assertion": "import ctypes.util\nassert ctypes.util.find_library('none')",
    "all of several": "import ctypes\ndef load():\n    for name in ('libnone.so.1', 'libnone.so.2'):\n        try:\n"
    "            return ctypes.CDLL(name)\n        except OSError:\n            pass\n    raise ImportError('none')\nload()",
    "a generator of names": "import ctypes\ndef names():\n    yield None\n    yield 'libnone.so.1'\ndef load():\n"
    "    for name in names():\n        if name is None:\n            continue\n        try:\n"
    "            return ctypes.CDLL(name)\n        except OSError:\n            pass\n    else:\n"
    "        raise ImportError('none')\nload()",
    "a list of names": "from ctypes.util import find_library\ndef names(rows):\n    found = []\n"
    "    for row in rows + [row + 'd' for row in rows]:\n        if find_library(row):\n            found.append(row)\n"
    "    return found\nif len(names(['none'])) == 0:\n    raise RuntimeError('none')",
    "suppressed but tried again": "import ctypes\nfrom contextlib import suppress\ndef load(*names):\n"
    "    for name in names:\n        with suppress(OSError):\n            return ctypes.CDLL(name)\n"
    "    return ctypes.CDLL(names[0])\nload('libnone.so.1', 'libnone.so.2')",
}
WORKING = {
    "a good one": "from . import _good",
    "caught": "try:\n    from . import _native\nexcept ImportError:\n    _native = None",
    "caught by a parent class": "try:\n    from . import _native\nexcept Exception:\n    pass",
    "suppressed": "from contextlib import suppress\nwith suppress(ImportError):\n    from . import _native",
    "for type checkers": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import _native",
    "for another system": "import sys\nif sys.platform == 'win32':\n    from . import _native",
    "for another system, by a call": "import platform\nif platform.system() == 'Darwin':\n    from . import _native",
    "for another version": "import sys\nif sys.version_info < (3, 8):\n    from . import _native",
    "under a condition that is not known": "import os\nif os.cpu_count() > 2:\n    from . import _native",
    "in a function": "def load():\n    from . import _native",
    "lazily": "def __getattr__(name):\n    from . import _native\n    return _native",
    "as the program": "if __name__ == '__main__':\n    from . import _native",
    "after a good one": "try:\n    from . import _good as impl\nexcept ImportError:\n    impl = None\nif impl is None:\n"
    "    from . import _native",
    "after something unknown": "import json as other\ntry:\n    x = other.get()\nexcept ImportError:\n    x = None\n"
    "if x is None:\n    from . import _native",
    "set by a function": "ready = False\ndef setup():\n    global ready\n    ready = True\nsetup()\n"
    "if not ready:\n    from . import _native",
    "one of several": "import ctypes\ndef load():\n    for name in ('libnone.so.1', 'libc.so.6'):\n        try:\n"
    "            return ctypes.CDLL(name)\n        except OSError:\n            pass\n    raise ImportError('none')\nload()",
    "dlopen of the program": "import ctypes\nctypes.CDLL(None)",
    "dlopen of an unknown name": "import ctypes, os\nctypes.CDLL(os.urandom(3).hex())",
    "find_library alone": "from ctypes.util import find_library\nname = find_library('none')",
    "in a loop over something unknown": "import os\nfor name in os.listdir('/x'):\n    from . import _native",
    "in a context that may catch": "import json as other\nwith other.guard():\n    from . import _native",
    "names from somewhere": "import os\ndef names():\n    for row in os.environ:\n        yield row\ndef load():\n"
    "    for name in names():\n        return name\n    raise ImportError('none')\nload()",
    "a list that an unknown loop fills": "import os\nfound = []\nfor row in os.listdir('/x'):\n    found.append(row)\n"
    "if not found:\n    from . import _native",
    "a list that an unknown function fills": "import json as other\nfound = []\nother.fill(found)\n"
    "if not found:\n    from . import _native",
    "a file that the kernel has": "import os\nif not os.path.exists('/proc/cpuinfo'):\n    from . import _native",
    "a decorated function": "import json as other\n@other.lazy\ndef load():\n    from . import _native\nload()",
    "what is not there, but may be put there": "from . import made_later\nfrom .made import up",
    "a source that cannot be parsed": "from .odd import x",
}
MORE = {"inner": "from ._native import x\n", "odd": "def (:\n"}


@pytest.mark.parametrize("name", FAILING)
def test_imports_that_fail(name: str) -> None:
    assert fails(FAILING[name], **MORE)


@pytest.mark.parametrize("name", WORKING)
def test_imports_that_work_or_may(name: str) -> None:
    assert not fails(WORKING[name], **MORE)


HOSTILE = {
    "doubling": "s = 'x'\nfor i in (1,) * 1 + tuple('a' for a in 'b'):\n    pass\n" + "s = s + s\n" * 200,
    "doubling a list": "s = [1]\n" + "s.extend(s)\n" * 200 + "s = s + s\n" * 100,
    "a width": "s = '%999999999d' % 1\nt = '{:999999999}'.format(1)\n",
    "replacing": "s = 'a'\n" + "s = s.replace('a', 'aa')\n" * 100,
    "joining": "s = 'a'\n" + "s = s.join((s, s, s))\n" * 100,
    "deep calls": "def f(x):\n    return f(f(f(x)))\nf(1)\n",
    "deep nesting": "x = " + "(" * 150 + "1" + ")" * 150 + "\n",
    "a loop": "while True:\n    pass\n",
    "loops in loops": "".join(f"{'  ' * i}for a{i} in {'(' + '1,' * 60 + ')'}:\n" for i in range(12))
    + "  " * 12
    + "pass\n",
    "branches": "import os\n" + "".join(f"{' ' * i}if os.x:\n" for i in range(90)) + " " * 90 + "pass\n",
    "division by zero": "x = 5 % 0\ny = '{0.real.foo}'.format(1)\nz = 'a'.split('')\n",
    "comprehensions": "x = [[[1 for a in 'x'] for b in (1,) ] for c in [1, 2]]\n",
    "a name of nothing": "x[0].y = 3\n(a, *b), c = 1, 2\ndel q\n*r, = 1\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_source_ends_or_stops_the_check(name: str) -> None:
    assert not fails(HOSTILE[name])


def test_the_causes_are_told_apart() -> None:
    found = trace(
        {
            "pkg/__init__.py": "try:\n    from . import _speed\nexcept ImportError:\n    pass\nfrom . import _native",
            "pkg/_speed.abi3.so": BROKEN,
            "pkg/_native.abi3.so": BROKEN,
        }
    )
    assert [cause.name for cause in found.causes] == [f"/{SITE}/pkg/_native.abi3.so"]
    assert [cause.name for cause in found.seen] == [f"/{SITE}/pkg/_speed.abi3.so"]


def test_what_was_loaded_before_is_there() -> None:
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": "import ctypes, os\nhere = os.path.dirname(__file__)\n"
        "ctypes.CDLL(f'{here}/libs/libnone.so.1')\nfrom . import _native",
        "pkg/_native.abi3.so": BROKEN,
        "pkg/libs/libnone.so.1": make_elf(soname="libnone.so.1"),
    }
    found = trace(files)
    assert not found.fails
    assert found.loaded == {f"/{SITE}/pkg/_native.abi3.so"}


def test_what_another_package_brings_may_have_been_loaded_before() -> None:
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": "import json as other\nfrom . import _native",
        "pkg/_native.abi3.so": BROKEN,
        "other/lib/libnone.so.1": make_elf(soname="libnone.so.1"),
    }
    assert not trace(files).fails
    # One for another machine is none.
    assert trace({**files, "other/lib/libnone.so.1": make_elf("aarch64", soname="libnone.so.1")}).fails


def test_a_library_of_the_package_that_is_loaded_by_a_path() -> None:
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": "import ctypes\nfrom pathlib import Path\n"
        "ctypes.CDLL(str(Path(__file__).parent / 'mylib.so'))\n",
        "pkg/mylib.so": BROKEN,
    }
    assert trace(files).fails
    assert not trace({**files, "pkg/mylib.so": FINE}).fails


def test_a_package_that_imports_its_own_name_means_the_extension_module_in_it() -> None:
    source = "import importlib\ndef boot():\n    importlib.import_module('pkg')\nboot()\n"
    assert trace({"pkg/__init__.py": source, "pkg/pkg.abi3.so": BROKEN}).fails
    assert not trace({"pkg/__init__.py": source, "pkg/pkg.abi3.so": FINE}).fails


def test_the_graph_has_the_ways_to_a_target_alone() -> None:
    sources = {
        "a": Source(b"from . import b, c\n", package=True),
        "a.b": Source(b"from .d import (\n    x,\n    y,\n)\n", package=False),
        "a.c": Source(b"import a.e\n", package=False),
        "a.d": Source(b"import importlib\nimportlib.import_module('a.target')\nimport a\n", package=False),
        "a.e": Source(b"", package=False),
        "a.far": Source(b"import a.target\n", package=False),
        "a.target": Source(b"", package=False),
    }
    assert Graph(sources).relevant(["a"], ["a.target"]) == {"a", "a.b", "a.c", "a.d", "a.target"}
