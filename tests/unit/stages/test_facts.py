"""Facts of miniature images: every kind of base that the design names, and what cannot be told."""

import hashlib

import pytest
from factories.elf import make_elf
from factories.image import File, Link
from factories.python_image import PATH, debian, glibc, python
from factories.python_image import image_facts as facts

from dpbuild.debian import ldcache
from dpbuild.errors import BaseImageError
from dpbuild.model.facts import Facts, Libc, PackageDatabase, SystemPackage, VersionClaim
from dpbuild.model.surroundings import RunAs, Surroundings
from dpbuild.oci.platform import Platform
from dpbuild.stages import facts_codec


def test_a_debian_base_to_the_last_field() -> None:
    layers = debian()
    interpreter = layers[2]["usr/bin/python3.13"]
    assert isinstance(interpreter, bytes)

    assert facts(*layers, entrypoint=("/usr/bin/python3.13",)) == Facts(
        interpreter="/usr/bin/python3.13",
        interpreter_sha256=hashlib.sha256(interpreter).hexdigest(),
        version="3.13.5",
        implementation="cpython",
        soabi="cpython-313-x86_64-linux-gnu",
        extension_suffixes=(
            ".cpython-313-x86_64-linux-gnu.so",
            ".abi3.so",
            ".abi3-x86_64-linux-gnu.so",
            ".so",
        ),
        gil_disabled=False,
        debug=False,
        machine="x86_64",
        libc=Libc(kind="glibc", version=(2, 41), loader="/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
        glibcxx="3.4.33",
        stdlib="/usr/lib/python3.13",
        purelib="/usr/local/lib/python3.13/dist-packages",
        scripts="/usr/local/bin",
        data="/usr/local",
        headers="/usr/include/python3.13",
        site_directories=(
            "/usr/local/lib/python3.13/dist-packages",
            "/usr/lib/python3/dist-packages",
            "/usr/lib/python3.13/dist-packages",
        ),
        distributor="debian:13",
        packages=(
            SystemPackage(name="libc6", version="2.41-12", architecture="amd64", source="glibc"),
            SystemPackage(name="python3.13-minimal", version="3.13.5-2", architecture="amd64", source="python3.13"),
        ),
        package_databases=(PackageDatabase(kind="dpkg", path="/var/lib/dpkg/status.d"),),
        version_claims=(VersionClaim(source="package python3.13-minimal", version="3.13.5-2", agrees=True),),
        surroundings=Surroundings(user=RunAs(uid=0, gid=0, name="", home="/")),
    )


def test_facts_survive_the_store() -> None:
    found = facts(*debian())

    assert facts_codec.decode(facts_codec.encode(found)) == found
    with pytest.raises(ValueError, match="not facts"):
        facts_codec.decode({"version": "3.13.5"})


def test_an_official_image_has_its_python_in_usr_local() -> None:
    found = facts(
        glibc(),
        python("3.12.7", prefix="usr/local", shared=True),
        env=("PATH=/usr/local/bin:/usr/bin",),
        cmd=("python3",),
    )

    assert found.interpreter == "/usr/local/bin/python3.12"
    assert found.version == "3.12.7"
    assert found.purelib == "/usr/local/lib/python3.12/site-packages"
    assert (found.data, found.scripts) == ("/usr/local", "/usr/local/bin")
    assert found.headers == "/usr/local/include/python3.12"


def test_a_relocated_python_is_where_it_is_and_not_where_it_was_built() -> None:
    """python-build-standalone and pyenv: the build variables still name another prefix."""
    found = facts(glibc(), python("3.11.9", prefix="opt/python", shared=True, variables={"prefix": "/install"}))

    assert (found.interpreter, found.stdlib) == ("/opt/python/bin/python3.11", "/opt/python/lib/python3.11")
    assert found.purelib == "/opt/python/lib/python3.11/site-packages"


def test_wolfi_has_its_site_directory_in_usr_even_if_it_is_not_there_yet() -> None:
    apk = "P:python-3.14\nV:3.14.2-r1\nA:x86_64\no:python-3.14\n\nP:glibc\nV:2.43-r0\nA:x86_64\n"
    found = facts(
        glibc("2.43", glibcxx=""),
        python("3.14.2", shared=True) | {"usr/bin/python": Link("python3"), "usr/lib/apk/db/installed": apk},
        {"etc/os-release": "ID=wolfi\nVERSION_ID='20230201'\n"},
        entrypoint=("/usr/bin/python",),
    )

    assert found.interpreter == "/usr/bin/python3.14"
    assert found.purelib == "/usr/lib/python3.14/site-packages"
    assert (found.glibcxx, found.distributor) == ("", "wolfi:20230201")
    assert found.packages == (
        SystemPackage(name="glibc", version="2.43-r0", architecture="x86_64"),
        SystemPackage(name="python-3.14", version="3.14.2-r1", architecture="x86_64"),
    )


def test_alpine_has_musl() -> None:
    loader = make_elf(payload=b"musl libc (x86_64)\nVersion %s\nDynamic Program Loader\n\0" + b"1.2.5\0libc.so\0")
    found = facts(
        {"lib/ld-musl-x86_64.so.1": loader, "lib/apk/db/installed": "P:musl\nV:1.2.5-r9\nA:x86_64\n"},
        python(
            "3.12.9",
            interp="/lib/ld-musl-x86_64.so.1",
            variables={"SOABI": "cpython-312-x86_64-linux-musl"},
            dynload=False,
        ),
    )

    assert found.libc == Libc(kind="musl", version=(1, 2), loader="/lib/ld-musl-x86_64.so.1")
    assert found.soabi == "cpython-312-x86_64-linux-musl"


def test_free_threaded() -> None:
    found = facts(glibc(), python("3.13.5", threads="t"), python("3.13.5"), entrypoint=("python3.13t",))

    assert (found.interpreter, found.gil_disabled) == ("/usr/bin/python3.13t", True)
    assert found.extension_suffixes == (".cpython-313t-x86_64-linux-gnu.so", ".abi3.so", ".so")
    assert found.purelib == "/usr/lib/python3.13t/site-packages"


@pytest.mark.parametrize(
    ("threads", "stable"),
    [
        ("", ("abi3-x86_64-linux-gnu", "abi3", "abi3t-x86_64-linux-gnu", "abi3t")),
        ("t", ("abi3t-x86_64-linux-gnu", "abi3t")),
    ],
)
def test_the_two_stable_abis_since_3_15(threads: str, stable: tuple[str, ...]) -> None:
    found = facts(glibc(), python("3.15.0", threads=threads, stable=stable))

    names = tuple(f".{name}.so" for name in stable)
    assert found.extension_suffixes == (f".cpython-315{threads}-x86_64-linux-gnu.so", *names, ".so")


def test_lib64_as_the_platform_library() -> None:
    found = facts(glibc(), python("3.12.3", variables={"PLATLIBDIR": "lib64"}))

    assert found.purelib == "/usr/lib/python3.12/site-packages"
    assert found.site_directories == ("/usr/lib64/python3.12/site-packages", "/usr/lib/python3.12/site-packages")


@pytest.mark.parametrize(
    ("machine", "platform", "word"),
    [("aarch64", "linux/arm64", "aarch64"), ("arm", "linux/arm/v7", "armv7l"), ("arm", "linux/arm/v6", "armv6l")],
)
def test_other_machines(machine: str, platform: str, word: str) -> None:
    found = facts(glibc(machine=machine), python(machine=machine), platform=Platform.parse(platform))

    assert found.machine == word
    assert found.glibcxx == "3.4.33"


def test_a_library_of_another_machine_is_passed_over() -> None:
    foreign = make_elf("aarch64", verdef=("GLIBCXX_3.4.99",))
    found = facts(glibc(), python(), {"usr/lib64/libstdc++.so.6": foreign, "usr/lib/libstdc++.so.6": "not ELF"})

    assert found.glibcxx == "3.4.33"


def test_ld_library_path_comes_before_the_usual_folders() -> None:
    own = make_elf(verdef=("GLIBCXX_3.4.99",))
    found = facts(glibc(), python(), {"opt/lib/libstdc++.so.6": own}, env=(PATH, "LD_LIBRARY_PATH=/opt/lib"))

    assert found.glibcxx == "3.4.99"


def test_libraries_that_only_the_cache_knows() -> None:
    files = python("3.12.7", prefix="opt/py", shared=True)
    files["opt/own/libpython3.12.so.1.0"] = files.pop("opt/py/lib/libpython3.12.so.1.0")
    with pytest.raises(BaseImageError, match=r"needs libpython3\.12\.so\.1\.0"):
        facts(glibc(), files)
    flags = ldcache.flags_of("x86_64", 64) or 0
    other = ldcache.flags_of("aarch64", 64) or 0
    rows = [
        ldcache.Library(soname="libpython3.12.so.1.0", path="/opt/own/gone.so", flags=other),
        ldcache.Library(soname="libpython3.12.so.1.0", path="/opt/own/libpython3.12.so.1.0", flags=flags),
    ]
    cache = ldcache.render(rows, ldcache.generator("2.41-12"))

    assert facts(glibc(), files, {"etc/ld.so.cache": File(cache)}).version == "3.12.7"
    with pytest.raises(BaseImageError, match="which the base does not have"):
        facts(glibc(), files, {"etc/ld.so.cache": File(cache[:60])})


@pytest.mark.parametrize("text", ["/lib:/opt/own\n", "/lib\n/opt/own"])
def test_libraries_in_the_folders_of_musls_path_file(text: str) -> None:
    loader = make_elf(payload=b"\0musl libc (x86_64)\n\x001.2.5\0")
    soabi = {"SOABI": "cpython-312-x86_64-linux-musl"}
    files = python("3.12.7", shared=True, interp="/lib/ld-musl-x86_64.so.1", variables=soabi, dynload=False)
    files["opt/own/libpython3.12.so.1.0"] = files.pop("usr/lib/libpython3.12.so.1.0")
    files["lib/ld-musl-x86_64.so.1"] = loader

    assert facts(files, {"etc/ld-musl-x86_64.path": text}).version == "3.12.7"
    with pytest.raises(BaseImageError, match="which the base does not have"):
        facts(files)


def test_without_a_banner_glibc_is_known_by_its_symbols() -> None:
    assert facts(glibc("2.39", banner=False), python()).libc.version == (2, 39)


# Which interpreter


@pytest.mark.parametrize(
    ("entrypoint", "cmd"),
    [
        (("/usr/local/bin/python3.12",), ()),
        (("python3.12",), ("/app.py",)),
        (("/sbin/tini", "--", "python3.12"), ()),
        (("/usr/local/bin/gunicorn",), ("app:main",)),
        (("gunicorn-env",), ()),
        (("bin/python3.12",), ()),
    ],
)
def test_what_the_image_starts_is_its_interpreter(entrypoint: tuple[str, ...], cmd: tuple[str, ...]) -> None:
    found = facts(
        glibc(),
        python("3.11.2"),
        python("3.12.7", prefix="usr/local", shared=True),
        {
            "usr/local/bin/python3": Link("/usr/bin/python3.11"),
            "sbin/tini": make_elf(),
            "usr/local/bin/gunicorn": "#!/usr/local/bin/python3.12 -I\nprint()\n",
            "usr/local/bin/gunicorn-env": "#!/usr/bin/env -S A=1 python3.12\n",
        },
        entrypoint=entrypoint,
        cmd=cmd,
        env=("PATH=/usr/bin:/usr/local/bin",),
        working_dir="/usr/local",
    )

    assert found.interpreter == "/usr/local/bin/python3.12"


def test_otherwise_the_first_in_path() -> None:
    layers = (glibc(), python("3.11.2"), python("3.12.7", prefix="usr/local"))

    assert facts(*layers, entrypoint=("/pause",)).version == "3.12.7"
    assert facts(*layers, env=("PATH=/usr/bin",)).version == "3.11.2"
    assert facts(*layers, env=()).version == "3.12.7"


def test_otherwise_the_only_one_in_opt() -> None:
    assert facts(glibc(), python(prefix="opt/py"), env=("PATH=/nothing",)).interpreter == "/opt/py/bin/python3.13"


def test_several_that_nothing_names_are_not_guessed_at() -> None:
    with pytest.raises(BaseImageError, match=r"several Pythons.*/opt/a/bin/python3\.12, /opt/b/bin/python3\.13"):
        facts(glibc(), python("3.12.1", prefix="opt/a"), python(prefix="opt/b"))


def test_no_python_says_what_was_looked_for() -> None:
    with pytest.raises(BaseImageError) as problem:
        facts(glibc(), {"app": make_elf()}, entrypoint=("/app", "serve"), env=("PATH=/a:/b",))

    assert problem.value.exit_code == 20
    assert "'/app serve'" in problem.value.what
    assert "/a:/b" in problem.value.what
    assert "/opt/*" in problem.value.what


def test_a_python_that_is_not_executable_is_none() -> None:
    files = python()
    content = files["usr/bin/python3.13"]
    assert isinstance(content, bytes)
    with pytest.raises(BaseImageError, match="there is no Python"):
        facts(glibc(), files | {"usr/bin/python3.13": File(content)})


# The version


def test_a_decoy_is_no_version() -> None:
    assert facts(glibc(), python("3.13.5", text=b"\x003.2.0\x003.13.99\0")).version == "3.13.5"


def test_before_3_11_the_version_is_a_string() -> None:
    assert facts(glibc(), python("3.10.14", text=b"\x003.2.0\x003.10.14\0")).version == "3.10.14"


def test_a_version_that_shares_the_tail_of_a_path() -> None:
    assert facts(glibc(), python("3.10.14", text=b"\0/versions/3.10.14\0/x/13.10.1\0")).version == "3.10.14"


@pytest.mark.parametrize(
    "said",
    [
        {"env": (PATH, "PYTHON_VERSION=3.10.14")},
        {"annotations": (("com.google.distroless.python.version", "3.10.14"),)},
    ],
)
@pytest.mark.parametrize("text", [b"", b"\x003.10.14\x003.10.1\0"])
def test_what_the_files_leave_open_somebody_else_may_say(said: dict[str, tuple[object, ...]], text: bytes) -> None:
    layers = (glibc(), python("3.10.14", text=text))

    assert facts(*layers, **said).version == "3.10.14"  # type: ignore[arg-type]
    with pytest.raises(BaseImageError, match="patch level"):
        facts(*layers)


def test_a_version_that_contradicts_the_files_is_not_taken() -> None:
    with pytest.raises(BaseImageError, match="patch level"):
        facts(glibc(), python("3.10.14", text=b"\x003.10.14\x003.10.1\0"), env=(PATH, "PYTHON_VERSION=3.12.1"))


def test_an_interpreter_beside_a_foreign_standard_library_is_refused() -> None:
    files = python("3.13.5")
    files["usr/bin/python3.12"] = files.pop("usr/bin/python3.13")
    with pytest.raises(BaseImageError, match="no standard library"):
        facts(glibc(), files | {"usr/bin/python3": Link("python3.12")})
    plain = python("3.13.5") | {"usr/bin/python": make_elf(interp="/lib64/ld-linux-x86-64.so.2", symbols={
        "Py_Version": (0x030C01F0).to_bytes(8, "little")})}  # fmt: skip
    with pytest.raises(BaseImageError, match=r"is Python 3\.12\.1, but its standard library is"):
        facts(glibc(), plain, entrypoint=("python",))


# The ABI


def test_without_build_variables_the_extension_modules_say_it() -> None:
    found = facts(glibc(), python("3.12.3", sysconfig=False))

    assert (found.soabi, found.debug) == ("cpython-312-x86_64-linux-gnu", False)


def test_without_either_the_abi_is_not_guessed() -> None:
    with pytest.raises(BaseImageError, match="the ABI of the interpreter cannot be told"):
        facts(glibc(), python(sysconfig=False, dynload=False))


def test_build_variables_that_contradict_the_extension_modules_are_refused() -> None:
    with pytest.raises(BaseImageError, match="not that of the extension modules"):
        facts(glibc(), python(variables={"SOABI": "cpython-313-aarch64-linux-gnu"}))


@pytest.mark.parametrize(
    "source", [b"build_time_vars = open('/etc/passwd')", b"x = (", b"build_time_vars = " + b"(" * 5000]
)
def test_build_variables_are_never_run(source: bytes) -> None:
    path = "usr/lib/python3.13/_sysconfigdata__linux_x86_64-linux-gnu.py"
    with pytest.raises(BaseImageError, match="build variables cannot be read"):
        facts(glibc(), python(), {path: File(source)})


def test_a_debug_build() -> None:
    found = facts(glibc(), python(variables={"SOABI": "cpython-313d-x86_64-linux-gnu", "Py_DEBUG": 1}, dynload=False))

    assert (found.debug, found.soabi) == (True, "cpython-313d-x86_64-linux-gnu")


# The C library


def test_a_static_interpreter_is_refused() -> None:
    with pytest.raises(BaseImageError, match="linked statically"):
        facts(glibc(), python(interp=""))


def test_a_missing_loader_or_library_is_named() -> None:
    with pytest.raises(BaseImageError, match=r"needs /lib64/ld-linux-x86-64\.so\.2"):
        facts(python())
    files = glibc()
    del files["usr/lib/x86_64-linux-gnu/libc.so.6"]
    with pytest.raises(BaseImageError, match=r"needs libc\.so\.6"):
        facts(files, python())
    shared = python(shared=True)
    del shared["usr/lib/libpython3.13.so.1.0"]
    with pytest.raises(BaseImageError, match=r"needs libpython3\.13\.so\.1\.0"):
        facts(glibc(), shared)


def test_the_wrong_machine_is_refused() -> None:
    with pytest.raises(BaseImageError, match="for linux/arm64, but its interpreter is for x86_64"):
        facts(glibc(), python(), platform=Platform("linux", "arm64"))


# The packages


def test_dpkg_lists_only_what_is_installed() -> None:
    status = (
        "Package: a\nStatus: install ok installed\nVersion: 1\n\n"
        "Package: b\nStatus: deinstall ok config-files\nVersion: 2\n\n"
        "Package: c\nStatus: install ok installed\nSource: cc (5)\nArchitecture: all\nVersion: 3\nDescription: x\n Version: 9\n"
    )
    assert facts(glibc(), python(), {"var/lib/dpkg/status": status}).packages == (
        SystemPackage(name="a", version="1"),
        SystemPackage(name="c", version="3", architecture="all", source="cc"),
    )


def test_rpms_manifest() -> None:
    line = "python3\t3.12.9-3.azl3\t1\t2\tMicrosoft\t(none)\t5\tx86_64\t0\tpython3-3.12.9-3.azl3.src.rpm\n"
    found = facts(glibc(), python(), {"var/lib/rpmmanifest/container-manifest-2": line})

    assert found.packages == (
        SystemPackage(
            name="python3", version="3.12.9-3.azl3", architecture="x86_64", source="python3-3.12.9-3.azl3.src.rpm"
        ),
    )


def test_chisels_manifest() -> None:
    wall = '{"jsonwall":"1.0"}\n{"kind":"package","name":"libc6","version":"2.39","sha256":"x","arch":"amd64"}\n'
    found = facts(glibc(), python(), {"var/lib/chisel/manifest.wall": wall})

    assert found.packages == (SystemPackage(name="libc6", version="2.39", architecture="amd64"),)
