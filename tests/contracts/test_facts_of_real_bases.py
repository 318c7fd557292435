"""Facts against the truth: what the very interpreter says of itself when it is run."""

import gzip
import hashlib
import importlib.machinery
import importlib.util
import io
import json
import platform
import posixpath
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories.image import File, Files, Layout, Link, make_tar, tagged
from factories.python_image import PATH, image_facts, python
from machinery import ComposedBase, Ran

from dpbuild.archive.entry import Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.archive.read import entries, open_layer
from dpbuild.elf.reader import read
from dpbuild.model.base import Base
from dpbuild.model.facts import Facts, Libc
from dpbuild.oci import mediatype
from dpbuild.oci import reference as references
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.platform import Platform
from dpbuild.stages.base import read_base
from dpbuild.stages.contents import MappedContents
from dpbuild.stages.facts import read_facts
from dpbuild.stages.facts_stdlib import expected

AMD64 = Platform("linux", "amd64")
SAY = """
import importlib.machinery, importlib.util, json, platform, pwd, site, ssl, sys, sysconfig, zoneinfo

def lacks(name):
    try:
        return importlib.util.find_spec(name) is None
    except ValueError:  # __main__ and the like have no spec
        return False

print(json.dumps({
    "version": platform.python_version(),
    "soabi": sysconfig.get_config_var("SOABI"),
    "extension_suffixes": importlib.machinery.EXTENSION_SUFFIXES,
    "site_directories": site.getsitepackages(),
    "libc": platform.libc_ver(),
    "stdlib": sysconfig.get_path("stdlib"),
    "purelib": sysconfig.get_path("purelib", sys.argv[2]),
    "data": sysconfig.get_path("data", sys.argv[2]),
    "headers": sysconfig.get_path("include", sys.argv[2]),
    "machine": platform.machine(),
    "executable": sys.executable,
    "missing_modules": sorted(name for name in sys.argv[1].split() if lacks(name)),
    "certificates": [ssl.get_default_verify_paths().openssl_cafile, ssl.get_default_verify_paths().openssl_capath],
    "trusted": len(ssl.create_default_context().get_ca_certs()) > 100,
    "zones": [zone in zoneinfo.available_timezones() for zone in ("Europe/London", "US/Eastern")],
    "users": [[row.pw_name, row.pw_uid, row.pw_gid, row.pw_dir, row.pw_shell] for row in pwd.getpwall()],
}))
"""


@pytest.mark.network
@pytest.mark.parametrize("variant", ["latest", "nonroot"])
@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        (
            "debian12",
            {
                "interpreter": "/usr/bin/python3.11",
                "version": "3.11.2",
                "soabi": "cpython-311-x86_64-linux-gnu",
                "extension_suffixes": (".cpython-311-x86_64-linux-gnu.so", ".abi3.so", ".so"),
                "libc": Libc(kind="glibc", version=(2, 36), loader="/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
                "glibcxx": "3.4.30",
                "distributor": "debian:12",
            },
        ),
        (
            "debian13",
            {
                "interpreter": "/usr/bin/python3.13",
                "version": "3.13.5",
                "soabi": "cpython-313-x86_64-linux-gnu",
                "extension_suffixes": (
                    ".cpython-313-x86_64-linux-gnu.so",
                    ".abi3.so",
                    ".abi3-x86_64-linux-gnu.so",
                    ".so",
                ),
                "libc": Libc(kind="glibc", version=(2, 41), loader="/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
                "glibcxx": "3.4.33",
                "distributor": "debian:13",
            },
        ),
    ],
)
def test_debians_bases(suite: str, variant: str, expected: dict[str, object], shared_cache: Path) -> None:
    from dpbuild.wiring import Settings, World

    world = World(Settings(cache_dir=shared_cache, progress="none"))
    reference = references.parse(f"compose:{suite}:{variant}")
    base = read_base(reference, world.source(reference, (AMD64,)), AMD64, world.store, world.reporter)

    facts = base.facts
    assert {name: getattr(facts, name) for name in expected} == expected
    minor = ".".join(facts.version.split(".")[:2])
    assert facts.purelib == f"/usr/local/lib/python{minor}/dist-packages"
    assert {row.name for row in facts.packages} >= {"libc6", "libstdc++6", f"python{minor}-minimal", "ca-certificates"}
    assert base.config.user == ("65532" if variant == "nonroot" else "0")
    assert not base.tree.is_directory("/usr/local")


@pytest.mark.network
@pytest.mark.parametrize("suite", ["debian12", "debian13"])
def test_the_variants_with_busybox(suite: str, dpbuild: Callable[..., Ran]) -> None:
    said = json.loads(dpbuild("inspect", f"compose:{suite}:debug", "--json", "--platform", "linux/amd64").out)

    assert said["facts"]["surroundings"]["shells"] == ["/busybox/sh", "/busybox/ash"]
    assert said["facts"]["surroundings"]["user"] == {"uid": 0, "gid": 0, "name": "root", "home": "/root"}
    assert all(row["agrees"] for row in said["facts"]["version_claims"])
    assert len(said["facts"]["version_claims"]) == 4


@pytest.mark.network
def test_another_machine(dpbuild: Callable[..., Ran]) -> None:
    """Of arm64, everything but the machine is what it is of amd64."""
    said = {}
    for architecture in ("amd64", "arm64"):
        found = dpbuild("inspect", "compose:debian13:debug", "--json", "--platform", f"linux/{architecture}")
        said[architecture] = json.loads(found.out.replace("x86-64.so.2", "aarch64.so.1").replace("x86_64", "aarch64"))

    facts = said["arm64"]["facts"]
    assert facts["libc"]["loader"] == "/usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1"
    assert {row["architecture"] for row in facts["packages"]} == {"arm64", "all"}
    own = ("interpreter_sha256", "packages")
    assert {key: value for key, value in facts.items() if key not in own} == {
        key: value for key, value in said["amd64"]["facts"].items() if key not in own
    }


@pytest.mark.network
def test_the_real_musl(tmp_path: Path) -> None:
    """Debian's package of musl below a Python made by hand: there is no package of a Python that is linked to it."""
    from dpbuild.debian import deb
    from dpbuild.wiring import Settings, World

    archive = World(Settings(cache_dir=tmp_path / "cache", progress="none")).debian(None)
    package = archive.select("trixie", "amd64", frozenset({"musl"}))["musl"]
    files: Files = {"lib": Link("usr/lib")}
    for entry, data in deb.contents(archive.package(package)):
        if entry.kind is Kind.SYMLINK:
            files[entry.path] = Link(entry.target)
        elif entry.kind is Kind.FILE:
            files[entry.path] = File(data, entry.mode)
    variables = {"SOABI": "cpython-313-x86_64-linux-musl"}
    ours = python(interp="/lib/ld-musl-x86_64.so.1", dynload=False, variables=variables)

    libc = image_facts(files, ours).libc

    loader = "/usr/lib/x86_64-linux-musl/libc.so"
    assert libc == Libc(kind="musl", version=(1, int(package.version.split(".")[1])), loader=loader)


@pytest.mark.network
@pytest.mark.bubblewrap
@pytest.mark.parametrize("suite", ["debian12", "debian13"])
def test_the_interpreter_says_the_same_of_itself(suite: str, shared_cache: Path) -> None:
    from dpbuild.wiring import Settings, World

    world = World(Settings(cache_dir=shared_cache, progress="none"))
    reference = references.parse(f"compose:{suite}:nonroot")
    base = read_base(reference, world.source(reference, (AMD64,)), AMD64, world.store, world.reporter)
    compare(world, base, "posix_local", "/usr/lib/ssl")


@pytest.mark.network
@pytest.mark.bubblewrap
@pytest.mark.slow
def test_a_moved_python_on_a_real_base_says_the_same_of_itself(
    composed_base: Callable[[str], ComposedBase], shared_cache: Path, tmp_path: Path
) -> None:
    """The Python that runs this test, moved and with less of its standard library, on Debian's own files."""
    from dpbuild.wiring import Settings, World

    under = composed_base("debian13").base
    world = World(Settings(cache_dir=shared_cache, progress="none"))
    layout = Layout(tmp_path / "image")
    rows = []
    for layer in under.manifest.layers:
        with world.store.open(layer.digest) as blob:
            rows.append(layout.put(blob.read(), layer.media_type))
    tar = moved("opt/python", without=("ensurepip", "idlelib", "sqlite3", "telnetlib", "tkinter", "wave"))
    rows.append(layout.put(gzip.compress(tar, 1, mtime=0), mediatype.OCI_LAYER_GZIP))
    document = {
        "os": "linux",
        "architecture": "amd64",
        "config": {
            "Env": [PATH, "LD_LIBRARY_PATH=/opt/python/lib", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
            "Entrypoint": ["/opt/python/bin/python3"],
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": [*map(str, under.config.diff_ids), f"sha256:{hashlib.sha256(tar).hexdigest()}"],
        },
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": mediatype.OCI_MANIFEST,
        "config": row_of(layout.json(document, mediatype.OCI_CONFIG)),
        "layers": [row_of(row) for row in rows],
    }
    layout.finish((layout.json(manifest, mediatype.OCI_MANIFEST), tagged("latest")))
    reference = references.parse(f"oci:{layout.path}")
    base = read_base(reference, world.source(reference, (AMD64,)), AMD64, world.store, world.reporter)

    assert base.facts.interpreter.startswith("/opt/python/bin/python3.")
    assert {"ensurepip", "idlelib", "sqlite3", "tkinter", "wave"} <= set(base.facts.missing_modules or ())
    assert base.facts.version_claims == ()
    compare(world, base, "posix_prefix", base.facts.surroundings.certificates.directory.removesuffix("/certs"))


def compare(world: Any, base: Base, scheme: str, openssl: str) -> None:
    """Run the interpreter in its image and compare every fact that it can tell."""
    import shutil

    from dpbuild.adapters.sandbox.bubblewrap import BubblewrapSandbox
    from dpbuild.ports.sandbox import Job

    facts = base.facts
    rootfs = world.rootfs(base, lambda row: world.store.open(row.digest))
    names = " ".join(sorted(expected(facts.minor[1]) or ()))
    environment = tuple((name, value) for name, _, value in (row.partition("=") for row in base.config.env))
    job = Job(rootfs=rootfs, argv=(facts.interpreter, "-I", "-c", SAY, names, scheme), env=environment)

    done = BubblewrapSandbox(str(shutil.which("bwrap"))).run(job)
    assert done.status == 0, done.stderr.decode()
    said = json.loads(done.stdout)
    around = facts.surroundings
    # The program knows OpenSSL's own folder; the environment comes before it.
    assert said.pop("certificates") == [f"{openssl}/cert.pem", around.certificates.directory]
    assert said.pop("trusted") == around.certificates.found
    assert said.pop("zones") == [bool(around.zoneinfo), around.legacy_zones]
    assert said.pop("users") == [[row.name, row.uid, row.gid, row.home, row.shell] for row in around.users]
    assert said == {
        "version": facts.version,
        "soabi": facts.soabi,
        "extension_suffixes": list(facts.extension_suffixes),
        "site_directories": list(facts.site_directories),
        "libc": [facts.libc.kind, ".".join(map(str, facts.libc.version))],
        "stdlib": facts.stdlib,
        "purelib": facts.purelib,
        "data": facts.data,
        "headers": facts.headers,
        "machine": facts.machine,
        "executable": facts.interpreter,
        "missing_modules": list(facts.missing_modules or ()),
    }


def row_of(descriptor: Descriptor) -> dict[str, object]:
    return {"mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size}


def moved(prefix: str, without: tuple[str, ...]) -> bytes:
    """A tar of the Python that runs this test below ``prefix``, without what is installed into it."""
    files = host_files(prefix)
    # The image has a C library of its own.
    for name in [name for name in files if not name.startswith(prefix)]:
        del files[name]
    stdlib = Path(sysconfig.get_path("stdlib"))
    left_out = {"site-packages", "test", "__pycache__", *without}
    for path in stdlib.rglob("*"):
        parts = path.relative_to(stdlib).parts
        if path.is_file() and path.suffix != ".pyc" and not left_out & {parts[0], parts[0].partition(".")[0]}:
            files[f"{prefix}/lib/{stdlib.name}/{'/'.join(parts)}"] = File(path.read_bytes())
    for name in without:
        files.pop(f"{prefix}/lib/{stdlib.name}/{name}.py", None)
        files.pop(f"{prefix}/lib/{stdlib.name}/{name}/__init__.py", None)
    return make_tar(files)


def host_files(prefix: str) -> Files:
    """The Python that runs this test, moved to ``prefix``, with the libraries that it is linked to."""
    minor = sysconfig.get_config_var("py_version_short")
    threads = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    name = f"python{minor}{threads}"
    program = Path(sys.executable).resolve().read_bytes()
    interp = read(program).interp
    files: Files = {f"{prefix}/bin/{name}": program, f"{prefix}/bin/python3": Link(name)}
    stdlib = Path(sysconfig.get_path("stdlib"))
    for path in (*stdlib.glob("*.py"), *stdlib.glob("*/__init__.py")):
        files[f"{prefix}/lib/{name}/{path.relative_to(stdlib)}"] = File(b"")
    for path in (*stdlib.glob("_sysconfigdata_*.py"), stdlib / "site.py", stdlib / "os.py"):
        files[f"{prefix}/lib/{name}/{path.name}"] = File(path.read_bytes())
    for path in (stdlib / "lib-dynload").glob("*.so"):
        files[f"{prefix}/lib/{name}/lib-dynload/{path.name}"] = File(b"")
    maps = Path("/proc/self/maps").read_text()
    for path in map(Path, sorted(set(re.findall(r"/\S+\.so[.\d]*$", maps, re.M)))):
        if path.name.startswith("libpython"):
            files[f"{prefix}/lib/{path.name}"] = path.read_bytes()
        elif path.name == "libc.so.6":
            files[f"lib64/{path.name}"] = path.read_bytes()
    files[interp.lstrip("/")] = Path(interp).read_bytes()
    return files


def host_facts(prefix: str, started: str = "bin/python3", more: Files | None = None) -> Facts:
    stream, _ = open_layer(io.BytesIO(make_tar(host_files(prefix) | (more or {}))), limit=1 << 30)
    rows, data = [], {}
    for ordinal, (entry, content) in enumerate(entries(stream)):
        rows.append(entry)
        data[ordinal] = content.read() if content else b""
    tree = FileTree.of([rows])
    contents = MappedContents(tree, lambda path: data[tree.origin(path)[1]])
    config = ImageConfig(
        platform=AMD64, env=(PATH, f"LD_LIBRARY_PATH=/{prefix}/lib"), entrypoint=(posixpath.join("/", prefix, started),)
    )
    found = Platform.parse(f"linux/{platform.machine()}")
    return read_facts(tree, contents, config, found)


@pytest.mark.parametrize("prefix", ["usr/local", "opt/python"])
def test_the_python_that_runs_this_test_packed_as_an_image(prefix: str) -> None:
    """Moved to another prefix, as python-build-standalone and pyenv allow; what it says of itself stays true."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("this test knows only where glibc is")
    facts = host_facts(prefix)

    assert facts.version == platform.python_version().rstrip("+")
    assert facts.soabi == sysconfig.get_config_var("SOABI")
    assert list(facts.extension_suffixes) == importlib.machinery.EXTENSION_SUFFIXES
    assert facts.machine == platform.machine()
    assert ".".join(map(str, facts.libc.version)) == platform.libc_ver()[1]
    assert facts.interpreter.startswith(f"/{prefix}/bin/python3.")
    names = sorted(expected(sys.version_info.minor) or ())
    assert facts.missing_modules == tuple(name for name in names if importlib.util.find_spec(name) is None)
    assert facts.purelib.startswith(f"/{prefix}/")
    assert facts.stdlib == f"/{prefix}/lib/{Path(sysconfig.get_path('stdlib')).name}"


def host_says(program: Path, code: str) -> list[str]:
    """What the Python that runs this test prints, a line each, when it is started under another name."""
    program.parent.mkdir(parents=True, exist_ok=True)
    program.symlink_to(Path(sys.executable).resolve())
    libraries = sysconfig.get_config_var("LIBDIR")
    done = subprocess.run(
        [program, "-c", code], capture_output=True, text=True, check=True, env={"LD_LIBRARY_PATH": libraries}
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("text", ["", "home = {home}\n", "home = {home}\nInclude-System-Site-Packages = FALSE\n"])
@pytest.mark.parametrize("place", ["venv", "venv/bin"])
def test_a_virtual_environment_is_what_the_interpreter_makes_of_it(text: str, place: str, tmp_path: Path) -> None:
    config = text.format(home=Path(sys.executable).resolve().parent)
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / place / "pyvenv.cfg").write_text(config)
    said = host_says(
        tmp_path / "venv/bin/python", "import site, sys; print(sys.prefix, *site.getsitepackages(), sep='\\n')"
    )

    files: Files = {f"{place}/pyvenv.cfg": File(config.encode()), "venv/bin/python": Link("/opt/python/bin/python3")}
    found = host_facts("opt/python", "/venv/bin/python", files).virtual_environment

    assert found is not None
    ours = [str(tmp_path) + row for row in (found.prefix, *found.site_directories)]
    assert said[: len(ours)] == ours
    assert (len(said) > len(ours)) == found.system_site_packages


@pytest.mark.skipif(sys.version_info < (3, 11), reason="honoured since 3.11")
@pytest.mark.parametrize("site", ["", "import site\n"])
def test_a_path_file_is_what_the_interpreter_makes_of_it(site: str, tmp_path: Path) -> None:
    name = Path(sys.executable).resolve().name
    stdlib = sysconfig.get_path("stdlib")
    text = "{0}\n{0}/lib-dynload  # both\n\n/srv/packages\n../more\n" + site
    (tmp_path / "bin").mkdir()
    (tmp_path / f"bin/{name}._pth").write_text(text.format(stdlib))
    code = "import sys; print(*sys.path, sep='\\n')"
    if site:
        code = "import site; print(*site.getsitepackages(), sep='\\n')"
    said = [row.removeprefix(str(tmp_path)) for row in host_says(tmp_path / "bin" / name, code)]

    folder = f"opt/python/lib/{Path(stdlib).name}"
    facts = host_facts("opt/python", more={f"opt/python/bin/{name}._pth": File(text.format(f"/{folder}").encode())})

    assert facts.path_file == f"/opt/python/bin/{name}._pth"
    wanted = [row for row in said if not row.startswith(stdlib)]
    assert [row.removeprefix("/opt/python") for row in facts.site_directories] == wanted
