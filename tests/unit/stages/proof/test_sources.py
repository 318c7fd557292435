"""What sources are seen to do."""

import pytest

from dpbuild.stages.proof.sources import MODULES, interesting, uses


def seen(text: str) -> list[tuple[str, str, int]]:
    return [(use.kind, use.name, use.line) for use in uses(text.encode()) if use.kind != "import"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from ctypes.util import find_library\nfind_library('magic')", [("find_library", "magic", 2)]),
        ("ctypes.CDLL('libpq.so.5')", [("load_library", "libpq.so.5", 1)]),
        ("ffi.dlopen('libgobject-2.0-0')", [("load_library", "libgobject-2.0-0", 1)]),
        ("ctypes.cdll.LoadLibrary('libm.so.6')", [("load_library", "libm.so.6", 1)]),
        ("os.system('ls')", [("shell", "os.system", 1)]),
        ("subprocess.run('ls | wc', shell=True)", [("shell", "subprocess.run with shell=True", 1)]),
        ("subprocess.run(['git', 'log'], check=True)", [("program", "git", 1)]),
        ("subprocess.check_output(('git',))", [("program", "git", 1)]),
        (
            "async def f():\n    await asyncio.create_subprocess_shell('ls')",
            [("shell", "asyncio.create_subprocess_shell", 2)],
        ),
        ("zoneinfo.ZoneInfo('US/Eastern')", [("zone", "US/Eastern", 1)]),
        ("locale.setlocale(locale.LC_ALL, 'de_DE.UTF-8')", [("locale", "de_DE.UTF-8", 1)]),
        # What another object calls so is nothing of ours.
        (
            "self.system('x')\nterminal.popen('x')\nsubprocess.run(command, shell=shell)\nlocale.setlocale(locale.LC_ALL)",
            [],
        ),
        ("not python (", []),
        ("\0", []),
    ],
)
def test_calls(text: str, expected: list[tuple[str, str, int]]) -> None:
    assert seen(text) == expected


@pytest.mark.parametrize(
    ("text", "top", "guarded"),
    [
        ("import imp", True, False),
        ("import imp.x as y", True, False),
        ("from imp import x", True, False),
        ("class A:\n    import imp", True, False),
        ("__import__('imp').x()", True, False),
        ("importlib.import_module('imp')", True, False),
        ("def f():\n    import imp", False, False),
        ("async def f():\n    import imp", False, False),
        ("lambda: __import__('imp')", False, False),
        # What a function is defined with is executed before anybody calls it, save annotations.
        ("@__import__('imp').x\ndef f():\n    pass", True, False),
        ("def f(a=__import__('imp'), /):\n    pass", True, False),
        ("async def f(*, a=__import__('imp')):\n    pass", True, False),
        ("lambda a=__import__('imp'): a", True, False),
        ("def f(a: __import__('imp')):\n    pass", False, False),
        ("def f() -> __import__('imp'):\n    pass", False, False),
        ("def f():\n    @__import__('imp')\n    def g():\n        pass", False, False),
        ("try:\n    import imp\nexcept ImportError:\n    imp = None", True, True),
        ("try:\n    import new\nexcept ImportError:\n    import imp", True, True),
        ("try:\n    import imp\nfinally:\n    pass", True, False),
        ("if sys.version_info < (3, 12):\n    import imp", True, True),
        ("with contextlib.suppress(ImportError):\n    import imp", True, True),
        ("with open('x'):\n    import imp", True, False),
        ("with warnings.catch_warnings():\n    import imp", True, False),
        ("with try_import() as done:\n    import imp", True, True),
        ("try:\n    import new\nexcept ImportError:\n    pass\nelse:\n    import imp", True, True),
        ("try:\n    pass\nfinally:\n    import imp", True, False),
        ("try:\n    import imp\nexcept ValueError:\n    pass", True, False),
        ("try:\n    import imp\nexcept (ValueError, KeyError):\n    pass", True, False),
        ("try:\n    import imp\nexcept (ValueError, ImportError):\n    pass", True, True),
        ("try:\n    import imp\nexcept Own:\n    pass", True, True),
        ("try:\n    import imp\nexcept:\n    pass", True, True),
        # What comes before may raise what is caught.
        ("try:\n    f()\n    import imp\nexcept ValueError:\n    pass", True, True),
        ("if 1:\n    import imp", True, False),
        ("if 0:\n    import imp", True, True),
        ("if True:\n    pass\nelse:\n    import imp", True, True),
        ("for x in ():\n    import imp", True, True),
        ("for x in __import__('imp').all:\n    pass", True, False),
        ("while f():\n    import imp", True, True),
        ("while True:\n    import imp", True, False),
        ("match sys.platform:\n    case 'win32':\n        import imp", True, True),
        ("debug and __import__('imp')", True, True),
        ("__import__('imp') and x", True, False),
        ("a if b else __import__('imp')", True, True),
        ("[__import__('imp') for n in ()]", True, True),
        ("assert __import__('imp')", True, True),
        ("sys.exit()\nimport imp", True, True),
        ("raise SystemExit\nimport imp", True, True),
        ("os.execv(a, b)\nimport imp", True, True),
        ("if a:\n    sys.exit()\nimport imp", True, False),
        ("if a:\n    sys.exit()\nelse:\n    raise b\nimport imp", True, True),
        ("try:\n    exit()\nexcept SystemExit:\n    pass\nimport imp", True, False),
        ("while True:\n    f()\nimport imp", True, True),
        ("while True:\n    break\nimport imp", True, False),
        ("def f():\n    return\nimport imp", True, False),
    ],
)
def test_imports(text: str, top: bool, guarded: bool) -> None:
    found = [use for use in uses(text.encode()) if use.name == "imp"]
    assert [(use.kind, use.top, use.guarded) for use in found] == [("import", top, guarded)]


def test_relative_imports_are_none() -> None:
    assert uses(b"from . import imp\nfrom .imp import x\nfrom ..pip import y") == ()


def test_every_name_is_searched_for() -> None:
    for name in MODULES:
        assert interesting(f"import {name}\n".encode())
        assert interesting(f"from {name} import x\n".encode())
        assert interesting(f"import os.path as path, {name}\n".encode())
        assert interesting(f"import os,{name} as x\n".encode())
        assert interesting(f"from  {name} import(x)\n".encode())
    assert not interesting(b"import impala, cgitbx, os\nfrom improve import y\nimport os\n")


def test_long_chains_are_survived() -> None:
    chain = "if a:\n    exit()\n" + "elif b:\n    exit()\n" * 900 + "import imp\n"
    assert [(use.name, use.guarded) for use in uses(chain.encode())] == [("imp", False)]


def test_deep_nesting_is_survived() -> None:
    assert uses(b"find_library" + b"(" * 5000 + b")" * 5000) == ()
    assert uses(b"x = find_library('y')" + b".z" * 20000) in ((), uses(b"x = find_library('y')"))
