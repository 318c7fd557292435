"""What a build says after an edit is what a check of the same image says that knows nothing: 41 edits of an app."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from bench import Bench

from dpbuild import pipeline
from dpbuild.checking import open_subject, proof
from dpbuild.model.finding import Finding
from dpbuild.stages.proof import prove as module
from dpbuild.stages.proof.prove import prove

Edit = Callable[[Path], object]
CLEAN = "import demo\nimport helper\n\n\ndef work():\n    return helper.x\n\n\nwork()\n"


def text(body: str, name: str = "main.py") -> Edit:
    return lambda folder: (folder / name).write_text(body)


def mode(name: str, bits: int) -> Edit:
    return lambda folder: (folder / name).chmod(bits)


def link(name: str, target: str) -> Edit:
    return lambda folder: (folder / name).symlink_to(target)


def file(name: str, body: str | bytes, bits: int = 0o644) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
        path.chmod(bits)

    return edit


EDITS: dict[str, Edit] = {
    "no edit": text(CLEAN),
    "another number": text(CLEAN + "y = 2\n"),
    "other words": file("data/x.txt", "y\n"),
    "sys.path said in a string": text(CLEAN + "y = 'sys.path'\n"),
    "a module that is gone": text(CLEAN + "import telnetlib\n"),
    "a module that is gone, in a helper": text("import imp\nx = 1\n", "helper.py"),
    "a module that is gone, from a function": text(CLEAN + "def f():\n    import cgi\n"),
    "a requirement that is not installed": text(CLEAN + "import requests\n"),
    "an import that is not caught any more": text("import demo, helper\nimport tkinter\n"),
    "import by name": text(CLEAN + "__import__('telnetlib')\n"),
    "importlib": text(CLEAN + "import importlib\nimportlib.import_module('telnetlib')\n"),
    "sys.path": text(CLEAN + "import sys\nsys.path.append('/x')\nimport elsewhere\n"),
    "os.system": text(CLEAN + "import os\nos.system('ls')\n"),
    "shell=True": text(CLEAN + "import subprocess\nsubprocess.run('ls', shell=True)\n"),
    "a program": text(CLEAN + "import subprocess\nsubprocess.run(['git'])\n"),
    "pip": text(CLEAN + "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'list'])\n"),
    "a zone": text(CLEAN + "import zoneinfo\nzoneinfo.ZoneInfo('Europe/Atlantis')\n"),
    "a locale": text(CLEAN + "import locale\nlocale.setlocale(locale.LC_ALL, 'de_DE.UTF-8')\n"),
    "find_library": text(CLEAN + "import ctypes.util\nctypes.CDLL(ctypes.util.find_library('magic'))\n"),
    "dlopen": text(CLEAN + "import ctypes\nctypes.CDLL('libmagic.so.1')\n"),
    "a shebang": file("tool.sh", "#!/bin/bash\necho\n", 0o755),
    "a shebang changed": text("#!/opt/venv/bin/python\n" + CLEAN),
    "a shebang of Windows": file("tool", "#!/usr/bin/python3\r\nprint()\r\n", 0o755),
    "a link to nowhere": link("lost", "data/none"),
    "a module of the standard library": file("queue.py", "x = 1\n"),
    "credentials": file(".env", "PASSWORD=x\n"),
    "a key": file("server.key", "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"),
    "credentials in pip.conf": file("pip.conf", "[global]\nindex-url = https://u:p@example.org/simple\n"),
    "mode 0600": mode("main.py", 0o600),
    "a folder with mode 0700": mode("data", 0o700),
    "an ELF file that is none": file("data/x.so", b"\x7fELF no"),
    "no Python any more": text("print 'x'\n"),
    "a name that is gone": file("helper.py", "z = 1\n"),
    "a name that is imported": text(CLEAN + "from helper import x\n"),
    "a name that is imported, and gone": text(CLEAN + "from helper import z\n"),
    "an imported name that is gone": lambda folder: (
        text(CLEAN + "from helper import x\n")(folder),
        text("z = 1\n", "helper.py")(folder),
    ),
    "a return too many": text(CLEAN + "return 1\n"),
    "a virtual environment": file("venv/pyvenv.cfg", "home = /usr/local/bin\n"),
    "a .pyc alone": file("gone.pyc", b"\x00\x00\r\n" + bytes(12)),
    "a helper that is gone": lambda folder: (folder / "helper.py").unlink(),
    "an egg link": file("x.egg-link", "/src/x\n"),
}


# Where what was found before is taken: nothing that a rule asks about has changed, or no build takes such files.
KEPT = {
    "a .pyc alone",
    "a name that is gone",
    "a key",
    "a virtual environment",
    "another number",
    "credentials",
    "credentials in pip.conf",
    "mode 0600",
    "other words",
    "sys.path said in a string",
}
FOUND = {
    "a module that is gone": ["RUN003"],
    "a module that is gone, in a helper": ["RUN003"],
    "a requirement that is not installed": ["RUN003"],
    "an import that is not caught any more": ["RUN003"],
    "import by name": ["RUN003"],
    "importlib": ["RUN003"],
    "sys.path": ["RUN003"],
    "os.system": ["RUN001"],
    "shell=True": ["RUN001"],
    "a program": ["RUN002"],
    "pip": ["RUN009"],
    "a zone": ["RUN006"],
    "a locale": ["RUN007"],
    "find_library": ["LIB004"],
    "dlopen": ["LIB004"],
    "a module of the standard library": ["LAY011"],
    "a helper that is gone": ["RUN003"],
    "a name that is imported, and gone": ["RUN011"],
    "an imported name that is gone": ["RUN011"],
    "a return too many": ["RUN010"],
    "no Python any more": ["RUN010"],
}


def test_an_edit_hides_nothing(bench: Bench) -> None:
    """Whatever was proved before, and whichever findings are kept."""
    project = bench.project
    clean = bench.tmp / "clean"
    bench.configure('entrypoint = ["/usr/bin/python3.13", "/app/main.py"]')
    (project / "main.py").write_text(CLEAN)
    (project / "helper.py").write_text("x = 1\n")
    (project / "data").mkdir()
    (project / "data/x.txt").write_text("x\n")
    bench.lock()
    shutil.copytree(project, clean)
    kept: set[str] = set()
    seen: dict[str, tuple[Finding, ...]] = {}

    def compared(*arguments: Any) -> tuple[Finding, ...]:
        layers, _, config, platform, _, store, fetch, _ = arguments
        with mock.patch.object(module, "prove", side_effect=prove) as called:
            # What Debian calls a library is no matter here.
            said = proof(*arguments[:-1], lambda _facts: None)
        if not called.call_count:
            kept.add(name)
            assert said == prove(open_subject(layers, config, platform, store, fetch)), name
        seen[name] = said
        return said

    with mock.patch.object(pipeline, "proof", side_effect=compared):
        for name, edit in EDITS.items():
            shutil.rmtree(project)
            shutil.copytree(clean, project, symlinks=True)
            edit(project)
            done = bench.build()
            assert done.status in (0, 70), f"{name}: {done.err}"
    assert kept == KEPT
    before = {row.rule for row in seen["no edit"]}
    new = {name: sorted({row.rule for row in rows} - before) for name, rows in seen.items()}
    assert {name: rules for name, rules in new.items() if rules} == FOUND
