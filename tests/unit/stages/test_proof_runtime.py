"""RUN: apps that look for modules in places of their own."""

import pytest
from factories.image import File, Files
from factories.subject import SITE, found, make_subject

from dpbuild.model.finding import Severity


@pytest.mark.parametrize(
    ("source", "severity"),
    [
        (b"import pkg\n", Severity.ERROR),
        (b"import sys\nsys.path.append('/app/x')\nimport pkg\n", Severity.WARNING),
        (b"import site\nsite.addsitedir('/app/x')\nimport pkg\n", Severity.WARNING),
        (b"import sys, types\nsys.modules['pkg'] = types.ModuleType('pkg')\nimport pkg\n", Severity.WARNING),
        (b"import sys\nif sys.modules['pkg'] == 1: pass\nimport pkg\n", Severity.ERROR),
    ],
)
def test_a_module_that_the_app_may_find_by_itself(source: bytes, severity: Severity) -> None:
    files = {"app/main.py": File(source), "app/x/pkg/__init__.py": File(b"")}
    (row,) = found(make_subject(files, cmd=("/app/main.py",)), "RUN003")
    assert row.severity is severity


@pytest.mark.parametrize(
    ("files", "env", "place"),
    [
        ({f"{SITE}/z.pth": File(b"import sys; sys.path.append('/srv')\n")}, (), f"/{SITE}/z.pth"),
        ({f"{SITE}/z.pth": File(b"x.zip\n"), f"{SITE}/x.zip": File(b"PK")}, (), f"/{SITE}/z.pth"),
        ({"srv/x.zip": File(b"PK")}, ("PYTHONPATH=/srv/x.zip",), "/srv/x.zip"),
        ({f"{SITE}/sitecustomize.py": File(b"import sys\nsys.path.append('/srv')\n")}, (), f"/{SITE}/sitecustomize.py"),
        ({f"{SITE}/sitecustomize.py": File(b"import os\n")}, (), ""),
        ({f"{SITE}/distutils-precedence.pth": File(b"import os; var = 1\n")}, (), ""),
        ({f"{SITE}/z.pth": File(b"# import x\n/srv\n")}, (), ""),
    ],
)
def test_modules_of_which_no_file_tells(files: Files, env: tuple[str, ...], place: str) -> None:
    """In the app and in a package; what -m names, too."""
    package = {
        f"{SITE}/old-1.0.dist-info/METADATA": File(b"Name: old\nVersion: 1.0\n"),
        f"{SITE}/old-1.0.dist-info/RECORD": File(b"old.py,,\nold-1.0.dist-info/RECORD,,\n"),
        f"{SITE}/old.py": File(b"import pkg_resources\n"),
    }
    main = {"app/main.py": File(b"import pkg\n")}
    rows = found(make_subject(main | files | package, cmd=("/app/main.py",), env=env), "RUN003", "RUN004")
    severity = Severity.WARNING if place else Severity.ERROR
    assert [(row.rule, row.severity) for row in rows] == [("RUN003", severity), ("RUN004", severity)]
    assert all(row.evidence.endswith(f"; {place} may bring it") == bool(place) for row in rows)
    told = found(make_subject(files, cmd=("-m", "pkg"), env=env), "INT008")
    assert [row.severity for row in told] == ([] if ".zip" in str(files) and not env else [severity])


@pytest.mark.parametrize(
    "init",
    [
        b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
        b"__import__('pkg_resources').declare_namespace(__name__)\n",
    ],
)
def test_a_package_that_goes_on_in_another_folder(init: bytes) -> None:
    files: Files = {
        "a/ns/__init__.py": File(init),
        "a/ns/one.py": File(b""),
        "b/ns/__init__.py": File(init),
        "b/ns/two.py": File(b""),
    }
    env = ("PATH=/usr/bin", "PYTHONPATH=/a:/b")
    assert found(make_subject(files, cmd=("-m", "ns.two"), env=env), "INT008") == ()
    plain = files | {"a/ns/__init__.py": File(b"")}
    assert len(found(make_subject(plain, cmd=("-m", "ns.two"), env=env), "INT008")) == 1
