"""The families of bases that Python runs on, rebuilt in miniature to the layout that their makers document.

Nothing here runs; each family says where its layout is documented. What nothing reads (contents of modules, most
files) is left out. docs/bases.md says which families are also read as they really are by the contract tests.
"""

from dataclasses import dataclass, field
from typing import Any

from factories.elf import make_elf
from factories.image import Content, File, Files, Folder, Link
from factories.python_image import debian, glibc, python

from dpbuild.stages.facts_stdlib import expected

try:
    from compression.zstd import compress
except ImportError:
    from backports.zstd import compress

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
_TRUSTED = f"SSL_CERT_FILE=/{_BUNDLE}"
_NONROOT = (
    "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"
    "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
)
_BUILT_IN = ("posix", "_io", "_thread", "_signal", "errno", "time", "itertools", "_codecs", "_sre")


@dataclass(frozen=True)
class Family:
    """``facts`` is what ``inspect --json`` must say, as far as it is given."""

    source: str
    layers: tuple[Files, ...]
    config: dict[str, object]
    facts: dict[str, Any]
    surroundings: dict[str, Any]
    tag: str
    annotations: dict[str, str] = field(default_factory=dict)


def _python(version: str, lacking: tuple[str, ...] = (), **more: Any) -> Files:
    names = expected(int(version.split(".")[1])) or frozenset()
    return python(version, built_in=_BUILT_IN, modules=sorted(names - set(_BUILT_IN) - set(lacking)), **more)


def _release(**values: str) -> Files:
    text = "".join(f'{key}="{value}"\n' for key, value in values.items())
    return {"usr/lib/os-release": File(text.encode()), "etc/os-release": Link("../usr/lib/os-release")}


def _zones(*, legacy: bool) -> Files:
    files: Files = {"usr/share/zoneinfo/Europe/London": File(b"TZif2"), "usr/share/zoneinfo/UTC": File(b"TZif2")}
    return files | ({"usr/share/zoneinfo/US/Eastern": File(b"TZif2")} if legacy else {})


def _openssl(folder: str, path: str = "usr/lib/x86_64-linux-gnu/libcrypto.so.3") -> Files:
    return {path: make_elf(soname="libcrypto.so.3", payload=f'\0OPENSSLDIR: "{folder}"\0'.encode())}


def musl(version: str = "1.2.5") -> Files:
    """musl's loader, which is the library: ldso/dynlink.c prints the banner, src/internal/version.c has the version."""
    text = b"\0musl libc (x86_64)\nVersion %s\nDynamic Program Loader\n\0" + version.encode() + b"\0"
    return {
        "lib/ld-musl-x86_64.so.1": make_elf(soname="libc.musl-x86_64.so.1", payload=text),
        "lib/libc.musl-x86_64.so.1": Link("ld-musl-x86_64.so.1"),
    }


def distroless(variant: str = "nonroot") -> Family:
    debug: Files = {"busybox/busybox": make_elf(type="executable", dynamic=False), "busybox/sh": Link("busybox")}
    system, packages, _ = debian()
    lacking = ("_gdbm", "_tkinter", "idlelib", "tkinter", "turtledemo")
    user = "65532" if variant.endswith("nonroot") else "0"
    is_debug = variant.startswith("debug")
    return Family(
        source="GoogleContainerTools/distroless, python3/ and static/ at cd080764",
        layers=(
            system,
            packages,
            _zones(legacy=True),
            {_BUNDLE: File(b"x", 0o555), "etc/passwd": File(_NONROOT.encode())},
            debug if is_debug else {},
            _openssl("/usr/lib/ssl"),
            {
                **_python("3.13.5", lacking, debian=True),
                "usr/bin/python": Link("/usr/bin/python3.13"),
                "var/lib/dpkg/status.d/python3.13-minimal": "Package: python3.13-minimal\nVersion: 3.13.5-2\n",
            },
        ),
        config={
            "User": user,
            "Env": [_PATH + (":/busybox" if is_debug else ""), _TRUSTED, "LANG=C.UTF-8"],
            "Entrypoint": ["/usr/bin/python3.13"],
        },
        annotations={"com.google.distroless.python.version": "3.13.5"},
        facts={
            "interpreter": "/usr/bin/python3.13",
            "version": "3.13.5",
            "libc": {
                "kind": "glibc",
                "version": [2, 41],
                "loader": "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            },
            "purelib": "/usr/local/lib/python3.13/dist-packages",
            "missing_modules": list(lacking),
            "version_claims": [
                {"source": "annotation com.google.distroless.python.version", "version": "3.13.5", "agrees": True},
                {"source": "package python3.13-minimal", "version": "3.13.5-2", "agrees": True},
            ],
            "package_databases": [{"kind": "dpkg", "path": "/var/lib/dpkg/status.d", "read": True}],
        },
        surroundings={
            "zoneinfo": "/usr/share/zoneinfo",
            "legacy_zones": True,
            "shells": ["/busybox/sh"] if is_debug else [],
            "certificates": {
                "bundles": [f"/{_BUNDLE}"],
                "file": f"/{_BUNDLE}",
                "directory": "/usr/lib/ssl/certs",
                "found": True,
            },
            "user": {"uid": 65532, "gid": 65532, "name": "nonroot", "home": "/home/nonroot"}
            if user != "0"
            else {"uid": 0, "gid": 0, "name": "root", "home": "/root"},
        },
        tag="cp313-cp313-manylinux_2_41_x86_64",
    )


def chainguard() -> Family:
    lacking = ("_tkinter", "idlelib", "tkinter")
    apk = (
        "P:glibc\nV:2.43-r3\nA:x86_64\nL:LGPL-2.1-or-later\no:glibc\nF:usr/lib\nR:libc.so.6\n\n"
        "P:python-3.14-base\nV:3.14.10_git20260925-r0\nA:x86_64\no:python-3.14\n\n"
        "P:python-3.14\nV:3.14.10_git20260925-r0\nA:x86_64\no:python-3.14\n"
    )
    files = _python("3.14.10", lacking, shared=True, variables={"MULTIARCH": "x86_64-linux-gnu"})
    return Family(
        source="wolfi-dev/os, python-3.14.yaml and python-3.13.yaml at 0068f808; chainguard-images; apko's layout",
        layers=(
            glibc("2.43", glibcxx=""),
            _release(ID="chainguard", NAME="Chainguard", VERSION_ID="20230214"),
            _openssl("/etc/ssl", "usr/lib/libcrypto.so.3"),
            {
                **files,
                "usr/bin/python": Link("python3"),
                "usr/lib/apk/db/installed": apk,
                "etc/apko.json": "{}",
                "etc/passwd": _NONROOT,
                _BUNDLE: File(b"x"),
            },
        ),
        config={"User": "65532", "Env": [_PATH, _TRUSTED], "Entrypoint": ["/usr/bin/python"]},
        facts={
            "interpreter": "/usr/bin/python3.14",
            "version": "3.14.10",
            "purelib": "/usr/lib/python3.14/site-packages",
            "glibcxx": "",
            "distributor": "chainguard:20230214",
            "missing_modules": list(lacking),
            "package_databases": [{"kind": "apk", "path": "/lib/apk/db/installed", "read": True}],
        },
        surroundings={"zoneinfo": "", "shells": []},
        tag="cp314-cp314-manylinux_2_43_x86_64",
    )


def hardened_debian() -> Family:
    status = (
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.41-12\n\n"
        "Package: python-3.13\nStatus: install ok installed\nArchitecture: amd64\nVersion: 3.13.9-debian13\n"
    )
    return Family(
        source="docker-hardened-images/catalog, issues 549 and 589; Docker's guide to migrating to hardened images",
        layers=(
            glibc("2.41"),
            _release(ID="debian", VERSION_ID="13"),
            _python("3.13.9", ("_tkinter", "tkinter"), shared=True)
            | {"var/lib/dpkg/status": status, "etc/passwd": _NONROOT, _BUNDLE: File(b"x")},
        ),
        config={"User": "65532", "Env": [_PATH, "PYTHON_VERSION=3.13.9", _TRUSTED], "Cmd": ["python3"]},
        facts={
            "interpreter": "/usr/bin/python3.13",
            "version": "3.13.9",
            "purelib": "/usr/lib/python3.13/site-packages",
            "missing_modules": ["_tkinter", "tkinter"],
            "version_claims": [
                {"source": "variable PYTHON_VERSION", "version": "3.13.9", "agrees": True},
                {"source": "package python-3.13", "version": "3.13.9-debian13", "agrees": True},
            ],
            "package_databases": [{"kind": "dpkg", "path": "/var/lib/dpkg/status", "read": True}],
        },
        surroundings={"shells": [], "zoneinfo": ""},
        tag="cp313-cp313-manylinux_2_41_x86_64",
    )


def _musl_python(version: str, prefix: str, **more: Any) -> Files:
    soabi = f"cpython-{version.split('.', maxsplit=1)[0]}{version.split('.')[1]}-x86_64-linux-musl"
    variables = {"SOABI": soabi, "MULTIARCH": "x86_64-linux-musl"}
    return _python(
        version, prefix=prefix, interp="/lib/ld-musl-x86_64.so.1", dynload=False, variables=variables, **more
    )


def hardened_alpine() -> Family:
    apk = "P:musl\nV:1.2.5-r10\nA:x86_64\no:musl\n\nP:python-3.13\nV:3.13.9-r0\nA:x86_64\n"
    return Family(
        source="docker-hardened-images/catalog, image/python/alpine-*; apk-tools' installed database",
        layers=(
            musl(),
            _release(ID="alpine", VERSION_ID="3.22.2"),
            _musl_python("3.13.9", "usr", shared=True)
            | {"lib/apk/db/installed": apk, "etc/passwd": _NONROOT, _BUNDLE: File(b"x")},
        ),
        config={"User": "65532", "Env": [_PATH, "PYTHON_VERSION=3.13.9", _TRUSTED], "Cmd": ["python3"]},
        facts={
            "interpreter": "/usr/bin/python3.13",
            "libc": {"kind": "musl", "version": [1, 2], "loader": "/lib/ld-musl-x86_64.so.1"},
            "soabi": "cpython-313-x86_64-linux-musl",
            "missing_modules": [],
            "purelib": "/usr/lib/python3.13/site-packages",
            "distributor": "alpine:3.22.2",
        },
        surroundings={"shells": []},
        tag="cp313-cp313-musllinux_1_2_x86_64",
    )


def chiselled() -> Family:
    rows = (
        '{"jsonwall":"1.0","schema":"1.0","count":6}',
        '{"kind":"content","slice":"python3.12_core","path":"/usr/bin/python3.12"}',
        '{"kind":"package","name":"libc6","version":"2.39-0ubuntu8.6","sha256":"00","arch":"amd64"}',
        '{"kind":"package","name":"python3.12-minimal","version":"3.12.3-1ubuntu0.8","sha512":"00","arch":"amd64"}',
        '{"kind":"path","path":"/usr/bin/python3.12","mode":"0755","slices":["python3.12_core"],"sha256":"00","size":1}',
        '{"kind":"slice","name":"python3.12_core"}',
    )
    # The slice "core" leaves out most of the standard library.
    lacking = ("curses", "ensurepip", "idlelib", "lib2to3", "sqlite3", "tkinter", "turtledemo", "unittest")
    folder: Content = Folder(0o2775)
    return Family(
        source="canonical/chisel-releases, slices/python3.12-minimal.yaml; Chisel's reference of the manifest, schema 1.0",
        layers=(
            {
                **glibc("2.39", glibcxx=""),
                **_release(ID="ubuntu", VERSION_ID="24.04"),
                **_python("3.12.3", lacking, debian=True),
                "usr/local/lib/python3.12": folder,
                "usr/local/lib/python3.12/dist-packages": folder,
                "var/lib/chisel/manifest.wall": File(compress("\n".join(rows).encode() + b"\n")),
                "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n_daemon_:x:584792:584792::/var/lib/pebble:/usr/bin/false\n",
            },
        ),
        config={"User": "_daemon_", "Env": [_PATH], "Entrypoint": ["/usr/bin/pebble", "enter"]},
        facts={
            "interpreter": "/usr/bin/python3.12",
            "version": "3.12.3",
            "glibcxx": "",
            "purelib": "/usr/local/lib/python3.12/dist-packages",
            "missing_modules": list(lacking),
            "package_databases": [{"kind": "chisel", "path": "/var/lib/chisel/manifest.wall", "read": True}],
            "packages": [
                {"name": "libc6", "version": "2.39-0ubuntu8.6", "architecture": "amd64", "source": ""},
                {"name": "python3.12-minimal", "version": "3.12.3-1ubuntu0.8", "architecture": "amd64", "source": ""},
            ],
        },
        surroundings={
            "user": {"uid": 584792, "gid": 584792, "name": "_daemon_", "home": "/var/lib/pebble"},
            "shells": [],
        },
        tag="cp312-cp312-manylinux_2_39_x86_64",
    )


def azure() -> Family:
    row = "{}\t{}\t1700000000\t1700000000\tMicrosoft Corporation\t(none)\t1\tx86_64\t0\t{}.src.rpm\n"
    long = row.format("glibc", "2.38-16.azl3", "glibc-2.38-16.azl3") + row.format(
        "python3", "3.12.9-3.azl3", "python3-3.12.9-3.azl3"
    )
    bundle = "etc/pki/tls/certs/ca-bundle.crt"
    return Family(
        source="microsoft/azurelinux, SPECS/python3/python3.spec and the distroless manifests' query formats; Marinara",
        layers=(
            {
                **glibc("2.38"),
                **_release(ID="azurelinux", VERSION_ID="3.0"),
                **_python("3.12.9", ("idlelib", "tkinter"), shared=True),
                "usr/lib64/libgcc_s.so.1": make_elf(),
                "var/lib/rpmmanifest/container-manifest-1": "glibc.2.38-16.azl3.x86_64\npython3.3.12.9-3.azl3.x86_64\n",
                "var/lib/rpmmanifest/container-manifest-2": long,
                "etc/passwd": _NONROOT,
                bundle: File(b"x"),
                "etc/pki/tls/cert.pem": Link("/" + bundle),
                **_openssl("/etc/pki/tls", "usr/lib/libcrypto.so.3"),
            },
        ),
        config={"User": "65532", "Env": [_PATH], "Cmd": ["python3"]},
        facts={
            "interpreter": "/usr/bin/python3.12",
            "version": "3.12.9",
            "purelib": "/usr/lib/python3.12/site-packages",
            "missing_modules": ["idlelib", "tkinter"],
            "package_databases": [
                {"kind": "rpm manifest", "path": "/var/lib/rpmmanifest/container-manifest-2", "read": True}
            ],
            "version_claims": [{"source": "package python3", "version": "3.12.9-3.azl3", "agrees": True}],
        },
        surroundings={
            "certificates": {
                "bundles": [f"/{bundle}"],
                "file": "/etc/pki/tls/cert.pem",
                "directory": "/etc/pki/tls/certs",
                "found": True,
            },
            "zoneinfo": "",
        },
        tag="cp312-cp312-manylinux_2_38_x86_64",
    )


def red_hat(rpmdb: bytes) -> Family:
    bundle = "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"
    return Family(
        source="Red Hat Hardened Images' documentation (hi/python); Fedora's python3 package (lib64, patch 251 of site)",
        layers=(
            {
                **glibc("2.42"),
                **_release(ID="hummingbird", VERSION_ID="20251124"),
                **_python(
                    "3.13.7",
                    ("_tkinter", "idlelib", "tkinter"),
                    shared=True,
                    library="lib64",
                    text=b"\0RPM_BUILD_ROOT\0",
                ),
                "usr/lib/sysimage/rpm/rpmdb.sqlite": File(rpmdb),
                "var/lib/rpm": Link("../../usr/lib/sysimage/rpm"),
                "etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndefault:x:65532:65532::/tmp:/sbin/nologin\n",
                bundle: File(b"x"),
                "etc/pki/tls/certs/ca-bundle.crt": Link("/" + bundle),
                "etc/pki/tls/cert.pem": Link("/" + bundle),
                **_openssl("/etc/pki/tls", "usr/lib64/libcrypto.so.3"),
            },
        ),
        config={"User": "65532", "Env": [_PATH], "Cmd": ["python3"]},
        facts={
            "interpreter": "/usr/bin/python3.13",
            "stdlib": "/usr/lib64/python3.13",
            "purelib": "/usr/lib/python3.13/site-packages",
            "site_directories": [
                "/usr/local/lib64/python3.13/site-packages",
                "/usr/local/lib/python3.13/site-packages",
                "/usr/lib64/python3.13/site-packages",
                "/usr/lib/python3.13/site-packages",
            ],
            "missing_modules": ["_tkinter", "idlelib", "tkinter"],
            "package_databases": [{"kind": "rpm sqlite", "path": "/var/lib/rpm/rpmdb.sqlite", "read": True}],
            "version_claims": [{"source": "package python3.13", "version": "3.13.7-1.hum1", "agrees": True}],
        },
        surroundings={"user": {"uid": 65532, "gid": 65532, "name": "default", "home": "/tmp"}},
        tag="cp313-cp313-manylinux_2_42_x86_64",
    )


def ubi_micro(rpmdb: bytes) -> Family:
    return Family(
        source="Red Hat's documentation of UBI micro: dnf --installroot, a Python without the link python3",
        layers=(
            {
                **glibc("2.34", glibcxx=""),
                **_release(ID="rhel", VERSION_ID="9.6"),
                "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
                "usr/bin/bash": make_elf(type="executable"),
                "usr/bin/sh": Link("bash"),
            },
            {
                **_python("3.13.7", ("tkinter",), shared=True, library="lib64"),
                "var/lib/rpm/rpmdb.sqlite": File(rpmdb),
            },
            # dnf's python3.13 brings no link python3 along; here it is taken away again.
            {"usr/bin/.wh.python3": File(b"")},
        ),
        config={"Env": [_PATH], "Cmd": ["/bin/bash"]},
        facts={
            "interpreter": "/usr/bin/python3.13",
            "distributor": "rhel:9.6",
            "missing_modules": ["tkinter"],
            "package_databases": [{"kind": "rpm sqlite", "path": "/var/lib/rpm/rpmdb.sqlite", "read": True}],
        },
        surroundings={
            "shells": ["/bin/sh", "/bin/bash"],
            "user": {"uid": 0, "gid": 0, "name": "root", "home": "/root"},
        },
        tag="cp313-cp313-manylinux_2_34_x86_64",
    )


def al3xos() -> Family:
    system, packages, _ = debian()
    return Family(
        source="alexos' distroless Python: Docker's /usr/local copied onto gcr.io/distroless/cc-debian13, user monty",
        layers=(
            system,
            packages,
            {"etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\nmonty:x:1000:1000::/home/monty:/sbin/nologin\n"},
            _python("3.13.9", prefix="usr/local", shared=True)
            | {"usr/local/bin/python": Link("python3"), _BUNDLE: File(b"x")},
        ),
        config={"User": "monty", "Env": [_PATH, _TRUSTED], "Entrypoint": ["/usr/local/bin/python"]},
        facts={
            "interpreter": "/usr/local/bin/python3.13",
            "version": "3.13.9",
            "purelib": "/usr/local/lib/python3.13/site-packages",
            "missing_modules": [],
            "version_claims": [],
            "package_databases": [{"kind": "dpkg", "path": "/var/lib/dpkg/status.d", "read": True}],
        },
        surroundings={"user": {"uid": 1000, "gid": 1000, "name": "monty", "home": "/home/monty"}, "shells": []},
        tag="cp313-cp313-manylinux_2_41_x86_64",
    )


def slim() -> Family:
    status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.41-12\n"
    return Family(
        source="docker-library/python, 3.13/slim-trixie/Dockerfile; Debian's ca-certificates",
        layers=(
            glibc("2.41"),
            {
                **_release(ID="debian", VERSION_ID="13"),
                "var/lib/dpkg/status": status,
                "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
                "usr/bin/dash": make_elf(type="executable"),
                "usr/bin/sh": Link("dash"),
                "usr/bin/bash": make_elf(type="executable"),
                _BUNDLE: File(b"x"),
                "etc/ssl/certs/002c0b4f.0": Link("GlobalSign_Root_R46.pem"),
                "etc/ssl/certs/GlobalSign_Root_R46.pem": File(b"x"),
                "usr/lib/ssl/certs": Link("/etc/ssl/certs"),
            },
            _openssl("/usr/lib/ssl"),
            _python("3.13.9", prefix="usr/local", shared=True),
        ),
        config={
            "Env": ["PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHON_VERSION=3.13.9"],
            "Cmd": ["python3"],
        },
        facts={
            "interpreter": "/usr/local/bin/python3.13",
            "purelib": "/usr/local/lib/python3.13/site-packages",
            "data": "/usr/local",
            "version_claims": [{"source": "variable PYTHON_VERSION", "version": "3.13.9", "agrees": True}],
            "missing_modules": [],
        },
        surroundings={
            "shells": ["/bin/sh", "/bin/bash", "/bin/dash"],
            "certificates": {
                "bundles": [f"/{_BUNDLE}"],
                "file": "/usr/lib/ssl/cert.pem",
                "directory": "/usr/lib/ssl/certs",
                "found": True,
            },
        },
        tag="cp313-cp313-manylinux_2_41_x86_64",
    )


def alpine() -> Family:
    apk = "P:busybox\nV:1.37.0-r19\nA:x86_64\no:busybox\n\nP:musl\nV:1.2.5-r10\nA:x86_64\no:musl\n"
    return Family(
        source="docker-library/python, 3.13/alpine3.22/Dockerfile; Alpine's alpine-baselayout and ca-certificates-bundle",
        layers=(
            {
                **musl(),
                **_release(ID="alpine", VERSION_ID="3.22.2"),
                "lib/apk/db/installed": apk,
                "bin/busybox": make_elf(type="executable"),
                "bin/sh": Link("/bin/busybox"),
                "bin/ash": Link("/bin/busybox"),
                "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
                _BUNDLE: File(b"x"),
                "etc/ssl/cert.pem": Link("certs/ca-certificates.crt"),
                **_openssl("/etc/ssl", "usr/lib/libcrypto.so.3"),
            },
            _zones(legacy=True),
            _musl_python("3.13.9", "usr/local", shared=True),
        ),
        config={
            "Env": ["PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHON_VERSION=3.13.9"],
            "Cmd": ["python3"],
        },
        facts={
            "interpreter": "/usr/local/bin/python3.13",
            "libc": {"kind": "musl", "version": [1, 2], "loader": "/lib/ld-musl-x86_64.so.1"},
            "purelib": "/usr/local/lib/python3.13/site-packages",
            "package_databases": [{"kind": "apk", "path": "/lib/apk/db/installed", "read": True}],
        },
        surroundings={
            "shells": ["/bin/sh", "/bin/ash"],
            "zoneinfo": "/usr/share/zoneinfo",
            "certificates": {
                "bundles": [f"/{_BUNDLE}", "/etc/ssl/cert.pem"],
                "file": "/etc/ssl/cert.pem",
                "directory": "/etc/ssl/certs",
                "found": True,
            },
        },
        tag="cp313-cp313-musllinux_1_2_x86_64",
    )


def relocated() -> Family:
    program = "opt/app/python/bin/python3.12"
    files = _python("3.12.11", prefix="opt/app/python", variables={"prefix": "/install", "LIBDIR": "/install/lib"})
    before = files[program]
    assert isinstance(before, bytes)
    files[program] = before + b'\0OPENSSLDIR: "/etc/ssl"\0'
    return Family(
        source="astral-sh/python-build-standalone, docs/distributions.rst: install_only archives, libraries linked in",
        layers=(
            glibc("2.36", glibcxx=""),
            files,
            {"opt/venv/bin/python": Link("/opt/app/python/bin/python3.12")},
            {
                "opt/venv/pyvenv.cfg": File(
                    b"home = /opt/app/python/bin\nimplementation = CPython\ninclude-system-site-packages = false\n"
                )
            },
        ),
        config={"Env": [_PATH], "Entrypoint": ["/opt/venv/bin/python", "-m", "app"], "User": "1000650000"},
        facts={
            "interpreter": "/opt/app/python/bin/python3.12",
            "version": "3.12.11",
            "stdlib": "/opt/app/python/lib/python3.12",
            "purelib": "/opt/app/python/lib/python3.12/site-packages",
            "virtual_environment": {
                "prefix": "/opt/venv",
                "site_directories": ["/opt/venv/lib/python3.12/site-packages"],
                "system_site_packages": False,
            },
            "package_databases": [],
            "missing_modules": [],
        },
        surroundings={
            "user": {"uid": 1000650000, "gid": 0, "name": "", "home": "/"},
            "certificates": {"bundles": [], "file": "/etc/ssl/cert.pem", "directory": "/etc/ssl/certs", "found": False},
        },
        tag="cp312-cp312-manylinux_2_36_x86_64",
    )


def families(rpmdb: bytes) -> dict[str, Family]:
    """All of them; ``rpmdb`` is a database of rpm with Python 3.13.7 in it."""
    return {
        "distroless": distroless(),
        "distroless debug": distroless("debug"),
        "distroless debug-nonroot": distroless("debug-nonroot"),
        "chainguard": chainguard(),
        "docker hardened, debian": hardened_debian(),
        "docker hardened, alpine": hardened_alpine(),
        "chiselled ubuntu": chiselled(),
        "azure linux": azure(),
        "red hat hardened": red_hat(rpmdb),
        "ubi micro": ubi_micro(rpmdb),
        "al3xos": al3xos(),
        "python:slim": slim(),
        "python:alpine": alpine(),
        "relocated": relocated(),
    }
