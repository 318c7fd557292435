"""Time zones, certificates, shells and users."""

import pytest
from factories.elf import make_elf
from factories.image import File, Files, Link
from factories.python_image import PATH, debian, image_facts

from dpbuild.model.surroundings import Certificates, RunAs, Surroundings, User

PASSWD = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
GROUP = "root:x:0:\nstaff:x:50:nonroot\nbad:x:y:\nshort:x:8\n"
CRYPTO = "usr/lib/x86_64-linux-gnu/libcrypto.so.3"
CLEAN = (PATH,)


def around(*layers: Files, env: tuple[str, ...] = CLEAN, user: str = "") -> Surroundings:
    return image_facts(*debian(), *layers, env=env, user=user).surroundings


# Time zones


@pytest.mark.parametrize(
    ("path", "env", "folder"),
    [
        ("usr/share/zoneinfo", (), "/usr/share/zoneinfo"),
        ("etc/zoneinfo", (), "/etc/zoneinfo"),
        ("usr/lib/python3/dist-packages/tzdata/zoneinfo", (), "/usr/lib/python3/dist-packages/tzdata/zoneinfo"),
        ("opt/zones", ("PYTHONTZPATH=/nowhere:/opt/zones",), "/opt/zones"),
        ("usr/share/zoneinfo", ("PYTHONTZPATH=",), ""),
        ("opt/zones", (), ""),
    ],
)
def test_the_folder_that_zoneinfo_reads(path: str, env: tuple[str, ...], folder: str) -> None:
    found = around({f"{path}/Europe/London": File(b"TZif2")}, env=(*CLEAN, *env))

    assert (found.zoneinfo, found.legacy_zones) == (folder, False)


def test_legacy_zones_may_be_links() -> None:
    zones: Files = {
        "usr/share/zoneinfo/Europe/London": File(b"TZif2"),
        "usr/share/zoneinfo/America/New_York": File(b"TZif2"),
        "usr/share/zoneinfo/US/Eastern": Link("../America/New_York"),
    }
    assert around(zones).legacy_zones
    dangling = zones | {"usr/share/zoneinfo/US/Eastern": Link("../America/Nowhere")}
    assert not around(dangling).legacy_zones


def test_the_build_may_have_its_own_list() -> None:
    from factories.python_image import glibc, python

    files = python(variables={"TZPATH": "/zones"}) | {"zones/Europe/London": File(b"")}

    assert image_facts(glibc(), files).surroundings.zoneinfo == "/zones"


# Certificates


def crypto(folder: str) -> Files:
    return {CRYPTO: make_elf(payload=f'\0OPENSSLDIR: "{folder}"\0'.encode())}


def test_the_environment_says_where_certificates_are() -> None:
    bundle: Files = {"etc/ssl/certs/ca-certificates.crt": File(b"x")}
    path = "/etc/ssl/certs/ca-certificates.crt"

    assert around(bundle, crypto("/usr/lib/ssl")).certificates == Certificates(
        bundles=(path,), file="/usr/lib/ssl/cert.pem", directory="/usr/lib/ssl/certs", found=False
    )
    env = (*CLEAN, f"SSL_CERT_FILE={path}")
    assert around(bundle, crypto("/usr/lib/ssl"), env=env).certificates == Certificates(
        bundles=(path,), file=path, directory="/usr/lib/ssl/certs", found=True
    )
    gone = around(crypto("/usr/lib/ssl"), env=env).certificates
    assert (gone.bundles, gone.file, gone.found) == ((), path, False)


def test_a_folder_of_certificates_by_their_hash() -> None:
    files = crypto("/usr/lib/ssl") | {
        "usr/lib/ssl/certs": Link("/etc/ssl/certs"),
        "etc/ssl/certs/README": File(b""),
    }
    assert not around(files).certificates.found
    assert around(files, {"etc/ssl/certs/002c0b4f.0": File(b"x")}).certificates.found


@pytest.mark.parametrize(
    "path", ["usr/bin/python3.13", "usr/lib/python3.13/lib-dynload/_ssl.cpython-313-x86_64-linux-gnu.so"]
)
def test_openssl_may_be_in_the_program_or_in_its_module(path: str) -> None:
    layer = debian()[2]
    before = layer.get(path, b"")
    assert isinstance(before, bytes)
    data = (before or make_elf()) + b'\0OPENSSLDIR: "/etc/ssl"\0'
    found = around({path: data}, {"etc/ssl/cert.pem": File(b"x")}).certificates

    assert (found.file, found.found) == ("/etc/ssl/cert.pem", True)


def test_without_openssl_nothing_is_claimed() -> None:
    assert around().certificates == Certificates()


# Shells


def test_no_shell_is_what_distroless_has() -> None:
    assert around({"bin": Link("usr/bin"), "usr/bin/shuf": make_elf()}).shells == ()


def test_shells_by_their_first_path() -> None:
    found = around(
        {"bin": Link("usr/bin"), "usr/bin/dash": make_elf(), "usr/bin/sh": Link("dash")},
        {"usr/local/bin/bash": make_elf(), "usr/local/bin/zsh": File(b"not executable"), "usr/bin/ksh": Link("gone")},
    )

    assert found.shells == ("/bin/sh", "/bin/dash", "/usr/local/bin/bash")


def test_busybox_of_debug_images() -> None:
    files: Files = {"busybox/busybox": make_elf(), "busybox/sh": Link("busybox")}

    assert around(files).shells == ("/busybox/sh",)


# Users


def test_users() -> None:
    text = PASSWD + "# no row\nbroken:x:1\nhuge:x:99999999999:0::/:\n+::::::\nshort:x:7:8\n"

    assert around({"etc/passwd": text}).users == (
        User(name="root", uid=0, gid=0, home="/root", shell="/sbin/nologin"),
        User(name="nonroot", uid=65532, gid=65532, home="/home/nonroot", shell="/sbin/nologin"),
        User(name="short", uid=7, gid=8, home="", shell=""),
    )


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", RunAs(uid=0, gid=0, name="root", home="/root")),
        ("nonroot", RunAs(uid=65532, gid=65532, name="nonroot", home="/home/nonroot")),
        ("65532", RunAs(uid=65532, gid=65532, name="nonroot", home="/home/nonroot")),
        ("nonroot:staff", RunAs(uid=65532, gid=50, name="nonroot", home="/home/nonroot")),
        ("nonroot:short", RunAs(uid=65532, gid=8, name="nonroot", home="/home/nonroot")),
        ("65532:7", RunAs(uid=65532, gid=7, name="nonroot", home="/home/nonroot")),
        ("1000650000", RunAs(uid=1000650000, gid=0, name="", home="/")),
        ("1234:staff", RunAs(uid=1234, gid=50, name="", home="/")),
        ("nobody", None),
        ("nonroot:wheel", None),
        ("nonroot:bad", None),
        ("4294967296", None),
        ("²", None),
    ],
)
def test_whom_the_image_runs_as(user: str, expected: RunAs | None) -> None:
    assert around({"etc/passwd": PASSWD, "etc/group": GROUP}, user=user).user == expected


def test_home_of_the_environment_comes_first() -> None:
    found = around({"etc/passwd": PASSWD}, env=(*CLEAN, "HOME=/tmp"), user="nonroot")

    assert found.user == RunAs(uid=65532, gid=65532, name="nonroot", home="/tmp")
