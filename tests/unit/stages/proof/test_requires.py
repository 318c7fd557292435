"""LAY015, LAY016, INT012 and RUN009: packages chosen for another Python, on images in memory."""

import pytest
from factories.subject import SITE, STDLIB, found, make_subject

RUNS = {"entrypoint": ("/usr/bin/python3.13", "/app/main.py")}


def package(
    name: str, version: str = "1.0", *, fields: str = "", tag: str = "py3-none-any", text: str = "", ending: str = ".py"
) -> dict[str, str]:
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    return {
        f"{SITE}/{module}{ending}": text,
        f"{SITE}/{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{fields}\nRequires-Dist: no\n",
        f"{SITE}/{info}/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n",
        f"{SITE}/{info}/RECORD": f"{module}{ending},,\n{info}/METADATA,,\n{info}/RECORD,,\n{info}/WHEEL,,\n",
    }


def rows(*packages: dict[str, str], rule: str = "LAY01") -> list[tuple[str, str, str]]:
    files: dict[str, str] = {}
    for row in packages:
        files |= row
    return [
        (row.rule, str(row.severity), row.evidence)
        for row in found(make_subject(files), rule)
        if row.rule in ("LAY015", "LAY016")
    ]


def test_a_marker_of_another_python() -> None:
    fields = "Requires-Dist: typing_extensions>=4.5; python_version >= '3.13'\nRequires-Dist: older; python_version < '3.13'\n"
    lazy = package("asks", fields=fields, text="def f():\n    import typing_extensions\n")
    said = (
        'asks 1.0 requires typing_extensions>=4.5 (python_version >= "3.13"), and on Python 3.13.5 it is not installed'
    )
    assert rows(lazy) == [("LAY015", "warning", said)]
    eager = package("asks", fields=fields, text="from typing_extensions import Self\n")
    assert rows(eager) == [("LAY015", "error", f"{said}; import asks fails")]
    guarded = package("asks", fields=fields, text="try:\n    import typing_extensions\nexcept ImportError:\n    pass\n")
    assert rows(guarded) == [("LAY015", "warning", said)]
    assert rows(eager, package("typing-extensions", "4.9")) == []


def test_a_version_outside_of_what_is_required() -> None:
    asks = package("asks", fields="Requires-Dist: other (>=2,<3)\n")
    assert rows(asks, package("other", "1.4")) == [
        ("LAY015", "warning", "asks 1.0 requires other<3,>=2, and on Python 3.13.5 other 1.4 is installed")
    ]
    assert rows(asks, package("other", "2.1rc1"), package("unrelated", fields="Requires-Dist: !!\n")) == []
    assert rows(asks, package("other", "2.5+local.1")) == []


def test_extras_count_where_somebody_asks_for_them() -> None:
    extra = package("other", fields="Provides-Extra: fast\nRequires-Dist: speed; extra == 'fast'\n")
    assert rows(extra) == []
    assert rows(extra, package("asks", fields="Requires-Dist: other\n")) == []
    (row,) = rows(extra, package("asks", fields="Requires-Dist: other[fast]\n"))
    assert row[2].startswith("other 1.0 requires speed")


def test_an_extra_of_all_extras_counts_only_if_asked_for() -> None:
    fields = "Requires-Dist: tool; extra == 'tui'\nRequires-Dist: some[tui]; extra == 'all'\n"
    some = package("some", fields=fields)
    assert rows(some) == []
    (row,) = rows(some, package("asks", fields="Requires-Dist: some[all]\n"))
    assert row[2].startswith("some 1.0 requires tool")


@pytest.mark.parametrize(
    ("marker", "counts"),
    [
        ("extra == 'x'", False),
        ("python_version >= '3.8' and (extra=='x')", False),
        ("extra == 'x' or python_version >= '3.8'", True),
        ("(extra == 'x') or python_version >= '3.8'", True),
        ("'x' == extra or os_name == 'posix'", True),
        ("extra == ''", True),
        ("extra != 'x'", True),
        ("python_version >= '3.8' and extra in ' '", True),
    ],
)
def test_what_is_only_for_an_extra_nobody_asks_for(marker: str, counts: bool) -> None:
    asks = package("asks", fields=f"Provides-Extra: x\nRequires-Dist: other; {marker}\n")
    assert bool(rows(asks)) is counts


@pytest.mark.parametrize("part", [";", "; extra", "extra == ;"])
def test_nonsense_takes_no_longer_than_its_length(part: str) -> None:
    """And not its square, which would be minutes."""
    assert rows(package("asks", fields=f"Requires-Dist: other {part * 100_000}\n")) == []


def test_what_only_a_kernel_knows_is_not_judged() -> None:
    assert rows(package("asks", fields="Requires-Dist: other; platform_release >= '5'\n")) == []


def test_the_description_is_no_requirement() -> None:
    assert rows(package("asks")) == []


@pytest.mark.parametrize(
    ("asks", "severity"),
    [
        (package("old", fields="Requires-Python: <3.12\n"), "warning"),
        (package("pure", tag="cp312-none-any"), "warning"),
        (package("new", tag="cp313-cp313-manylinux_2_99_x86_64", ending=".cpython-313-x86_64-linux-gnu.so"), "note"),
        (package("musl", tag="cp313-cp313-musllinux_1_2_x86_64", ending=".cpython-313-x86_64-linux-gnu.so"), "note"),
        # ABI001 has that one.
        (package("minor", tag="cp312-cp312-manylinux_2_17_x86_64", ending=".cpython-312-x86_64-linux-gnu.so"), None),
        (package("fits", tag="cp313-cp313-manylinux2014_x86_64", ending=".cpython-313-x86_64-linux-gnu.so"), None),
        (package("stable", tag="cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64", ending=".abi3.so"), None),
        (package("built", tag="cp313-cp313-linux_x86_64", ending=".cpython-313-x86_64-linux-gnu.so"), None),
        (package("python", fields="Requires-Python: >=3.8,!=3.9.*\n", tag="py2.py3-none-any"), None),
    ],
)
def test_a_package_for_another_python(asks: dict[str, str], severity: str | None) -> None:
    assert [row[:2] for row in rows(asks)] == ([("LAY016", severity)] if severity else [])


def test_another_version_than_the_image_says() -> None:
    def said(*env: str) -> list[str]:
        return [row.evidence for row in found(make_subject({}, env=("PATH=/usr/bin", *env)), "INT012")]

    assert said("PYTHON_VERSION=3.13.9") == said("PYTHON_VERSION=3.13") == said() == []
    (row,) = said("PYTHON_VERSION=3.11.2")
    assert row.startswith("it is Python 3.13.5, but ")
    assert row.endswith("says 3.11.2")
    moved = make_subject({}, annotations=(("com.google.distroless.python.version", "3.11.2"),))
    assert len(found(moved, "INT012")) == 1


def test_packages_for_the_minor_before() -> None:
    """Named are both versions, and what has happened."""
    files = {path.replace("python3.13", "python3.11"): text for path, text in package("asks").items()}
    (row,) = found(make_subject(files), "LAY001")
    assert row.severity == "error"
    assert row.evidence.endswith("which is Python 3.13.5; the folder is for Python 3.11")
    assert "the base has Python 3.13, the packages are for 3.11" in row.fix


PIP = "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', 'x'{}])\n"


def test_pip_at_run_time() -> None:
    def said(text: str, **more: str) -> list[str]:
        return [row.evidence for row in found(make_subject({"app/main.py": text, **more}, **RUNS), "RUN009")]

    assert said(PIP.format("")) == ["line 2: python -m pip install x; there is no module pip"]
    assert said("import subprocess\nsubprocess.run(['python3', '-m', 'json.tool'])\n") == []
    assert said("import subprocess\nsubprocess.run(['python3', 'x.py'])\n") == []
    there = {f"{SITE}/pip/__init__.py": "", f"{STDLIB}/EXTERNALLY-MANAGED": "[externally-managed]\n"}
    assert said(PIP.format(""), **there) == [
        f"line 2: python -m pip install x, which /{STDLIB}/EXTERNALLY-MANAGED forbids"
    ]
    assert said(PIP.format(", '--target', '/tmp/x'"), **there) == []
    assert said(PIP.format("").replace("install", "list"), **there) == []
