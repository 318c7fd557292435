"""ABI: the rules on images in memory."""

from factories.elf import make_elf
from factories.package import image, rows
from factories.subject import make_subject

AARCH64 = make_elf("aarch64")
FINE = make_elf(needed=("libc.so.6",))


def test_another_minor() -> None:
    name = "pkg/_a.cpython-312-x86_64-linux-gnu.so"
    files = {"pkg/__init__.py": "from . import _a\n", name: FINE, name.replace("_a", "_b"): FINE}
    assert rows(image(files)) == [
        (
            "ABI001",
            "error",
            name,
            (
                "it is for Python 3.12 (cpython-312-x86_64-linux-gnu), the interpreter is Python 3.13.5"
                " (cpython-313-x86_64-linux-gnu); so is 1 more of its modules; import pkg fails"
            ),
        )
    ]


def test_it_is_a_warning_where_the_package_goes_on_without_it() -> None:
    files = {
        "pkg/__init__.py": "try:\n    from . import _a\nexcept ImportError:\n    _a = None\n",
        "pkg/_a.cpython-312-x86_64-linux-gnu.so": FINE,
    }
    assert [row[:2] for row in rows(image(files))] == [("ABI001", "warning")]


def test_variants_side_by_side_are_fine() -> None:
    names = (f"pkg/_a.cpython-{minor}-x86_64-linux-gnu.so" for minor in ("311", "312", "313"))
    assert rows(image({"pkg/__init__.py": "from . import _a\n", **dict.fromkeys(names, FINE)})) == []
    other = {"pkg/_a.abi3.so": FINE, "pkg/_a.cpython-312-x86_64-linux-gnu.so": FINE}
    assert rows(image({"pkg/__init__.py": "from . import _a\n", **other})) == []
    source = {"pkg/_a.py": "", "pkg/_a.cpython-312-x86_64-linux-gnu.so": FINE}
    assert rows(image({"pkg/__init__.py": "from . import _a\n", **source})) == []


def test_another_machine_by_name_or_by_header() -> None:
    for name in ("_a.abi3.so", "_a.cpython-313-aarch64-linux-gnu.so", "_a.cpython-313-x86_64-linux-gnu.so"):
        files = {"pkg/__init__.py": "from . import _a\n", f"pkg/{name}": AARCH64}
        evidence = "it is for aarch64, the interpreter for x86_64; import pkg fails"
        assert rows(image(files)) == [("ABI002", "error", f"pkg/{name}", evidence)]


def test_a_package_that_can_be_imported_but_not_used() -> None:
    files = {"pkg/__init__.py": "", "pkg/use.py": "from pkg import _a\n", "pkg/_a.abi3.so": AARCH64}
    evidence = "it is for aarch64, the interpreter for x86_64; import pkg.use fails"
    assert rows(image(files)) == [("ABI002", "error", "pkg/_a.abi3.so", evidence)]
    lazy = {**files, "pkg/use.py": "def f():\n    from pkg import _a\n"}
    assert [row[:2] for row in rows(image(lazy))] == [("ABI002", "warning")]


def test_another_libc() -> None:
    musl = make_elf(needed=("libc.musl-x86_64.so.1",))
    files = {"pkg/__init__.py": "from . import _a\n", "pkg/_a.abi3.so": musl}
    evidence = "it needs libc.musl-x86_64.so.1, which is musl's, the base has glibc 2.41; import pkg fails"
    assert rows(image(files)) == [("ABI003", "error", "pkg/_a.abi3.so", evidence)]
    named = {"pkg/__init__.py": "from . import _a\n", "pkg/_a.cpython-313-x86_64-linux-musl.so": FINE}
    assert [row[:2] for row in rows(image(named))] == [("ABI003", "error")]


def test_free_threaded_and_debug() -> None:
    for flags, word in (("t", "a free-threaded Python"), ("d", "a debug build")):
        files = {"pkg/__init__.py": "from . import _a\n", f"pkg/_a.cpython-313{flags}-x86_64-linux-gnu.so": FINE}
        ((rule, severity, _, evidence),) = rows(image(files))
        assert (rule, severity) == ("ABI004", "error")
        assert evidence.startswith(f"it is for {word} (cpython-313{flags}-")


def test_nothing_outside_of_sys_path() -> None:
    subject = make_subject({"opt/pkg/_a.cpython-312-x86_64-linux-gnu.so": FINE})
    assert rows(subject) == []
