"""Small sdists with C code and a backend of their own, which compiles and packs without anything from an index."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

BACKEND = """\
import base64, hashlib, os, subprocess, sys, sysconfig, zipfile

NAME, VERSION = {name!r}, {version!r}

def said(function):
    try:
        function()
    except BaseException as problem:
        sys.exit(f"{{type(problem).__name__}} {{problem}}")

def run():
    {before}

def compiled():
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    flags = os.environ["CFLAGS"].split()
    command = ["cc", "-shared", "-fPIC", *flags, "-I", sysconfig.get_path("include"), NAME + ".c", "-o", NAME + suffix]
    subprocess.run([*command, *{libraries!r}], check=True)
    return NAME + suffix

def row(name, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return name + ",sha256=" + digest + "," + str(len(data)) + "\\n"

def build_wheel(folder, settings=None, metadata=None):
    run()
    python = "cp%d%d" % sys.version_info[:2]
    tag = python + "-" + python + "-linux_" + os.uname().machine
    files = [compiled()]
    info = NAME + "-" + VERSION + ".dist-info/"
    name = NAME + "-" + VERSION + "-" + tag + ".whl"
    texts = {{
        "METADATA": "Metadata-Version: 2.1\\nName: " + NAME + "\\nVersion: " + VERSION + "\\n" + {metadata!r},
        "WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: false\\nTag: " + tag + "\\n",
        "RECORD": "",
    }}
    with zipfile.ZipFile(os.path.join(folder, name), "w", zipfile.ZIP_DEFLATED) as wheel:
        record = ""
        for file in files:
            wheel.write(file)
            record += row(file, open(file, "rb").read())
        for file, text in texts.items():
            record += info + "RECORD,,\\n" if file == "RECORD" else row(info + file, text.encode())
            wheel.writestr(info + file, record if file == "RECORD" else text)
    return name
"""

MODULE = """\
#include <Python.h>
{more}
static PyObject *answer(PyObject *self, PyObject *none) {{ return PyLong_FromLong({answer}); }}
static PyMethodDef methods[] = {{{{"answer", answer, METH_NOARGS, 0}}, {{0}}}};
static struct PyModuleDef module = {{PyModuleDef_HEAD_INIT, "{name}", 0, -1, methods}};
PyMODINIT_FUNC PyInit_{name}(void) {{ return PyModule_Create(&module); }}
"""

# For ``native_files``: the compiler needs libmpfr, which needs libgmp. Neither is in the base, and the linker is given the
# file's name, since no package of a builder has a link for it.
MPFR: Mapping[str, Any] = {
    "libraries": ("-l:libmpfr.so.6",),
    "more": "extern const char *mpfr_get_version(void);",
    "answer": "mpfr_get_version()[0] - '0'",
}


def native_files(
    name: str,
    version: str = "1.0",
    *,
    answer: str = "42",
    before: str = "pass",
    more: str = "",
    libraries: tuple[str, ...] = (),
    metadata: str = "",
    project: bool = True,
) -> dict[str, str]:
    """A project with one extension module ``name``, whose ``answer()`` is the C expression ``answer``.

    With ``project`` pyproject.toml says name and version. ``before`` is Python that the backend runs first, ``more`` C in front of the module, ``libraries`` go to the linker.
    """
    table = f'[project]\nname = "{name}"\nversion = "{version}"\n' if project else ""
    return {
        "pyproject.toml": f'[build-system]\nrequires = []\nbuild-backend = "maker"\nbackend-path = ["tools"]\n{table}',
        "tools/maker.py": BACKEND.format(
            name=name, version=version, before=before, libraries=list(libraries), metadata=metadata
        ),
        f"{name}.c": MODULE.format(name=name, answer=answer, more=more),
    }


def make_sdist(
    name: str,
    version: str,
    files: Mapping[str, str],
    *,
    dynamic: bool = False,
    requires: tuple[str, ...] = (),
    zipped: bool = False,
) -> tuple[str, bytes]:
    """File name and bytes; with ``dynamic`` its metadata say that only a build knows the dependencies."""
    about = f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n"
    about += "Dynamic: Requires-Dist\n" if dynamic else ""
    about += "".join(f"Requires-Dist: {row}\n" for row in requires)
    out = io.BytesIO()
    if zipped:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{name}-{version}/", b"")
            for path, text in {"PKG-INFO": about, **files}.items():
                archive.writestr(f"{name}-{version}/{path}", text)
        return f"{name}-{version}.zip", out.getvalue()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, text in {"PKG-INFO": about, **files}.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"{name}-{version}.tar.gz", gzip.compress(out.getvalue(), mtime=0)
