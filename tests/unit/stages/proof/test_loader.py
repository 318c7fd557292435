"""The dynamic loader's search, on images in memory."""

from typing import Any

from factories.elf import make_elf
from factories.image import File, Files, Link
from factories.python_image import python
from factories.subject import SITE, make_subject

from dpbuild.debian import ldcache
from dpbuild.stages.proof.loader import Loader, Missing, Outcome

LIBRARIES = "usr/lib/x86_64-linux-gnu"
MODULE = f"/{SITE}/native.cpython-313-x86_64-linux-gnu.so"


def load(module: bytes, files: Files | None = None, **config: Any) -> Outcome:
    subject = make_subject({MODULE[1:]: module, **(files or {})}, **config)
    assert subject.facts is not None
    return Loader(subject, subject.facts).load(MODULE)


def paths(outcome: Outcome) -> list[str]:
    return [row.path for row in outcome.loaded[1:]]


def library(name: str = "libx.so.1", **fields: Any) -> bytes:
    return make_elf(soname=name, **fields)


WANTS_X = make_elf(needed=("libx.so.1", "libc.so.6"))


def test_nothing_is_missing_where_the_process_has_it() -> None:
    assert load(make_elf(needed=("libc.so.6", "libm.so.6"))).missing == ()
    assert paths(load(make_elf(needed=("libc.so.6", "libm.so.6")))) == []


def test_a_default_directory() -> None:
    assert paths(load(WANTS_X, {f"{LIBRARIES}/libx.so.1": library()})) == ["/lib/x86_64-linux-gnu/libx.so.1"]


def test_usr_local_is_none() -> None:
    outcome = load(WANTS_X, {"usr/local/lib/libx.so.1": library()})
    assert outcome.missing == (Missing(library="libx.so.1", wanted_by=MODULE),)


def test_the_directories_are_those_that_the_loader_was_built_with() -> None:
    built = make_elf(soname="ld-linux-x86-64.so.2", payload=b"\0/opt/lib/\0/usr/lib/\0")
    files = {f"{LIBRARIES}/ld-linux-x86-64.so.2": built, "opt/lib/libx.so.1": library()}
    assert paths(load(WANTS_X, files)) == ["/opt/lib/libx.so.1"]


def test_the_cache_comes_before_them() -> None:
    flags = ldcache.flags_of("x86_64", 64)
    assert flags is not None
    row = ldcache.Library(soname="libx.so.1", path="/opt/libx.so.1", flags=flags)
    files = {
        "etc/ld.so.cache": File(ldcache.render([row], "ldconfig (Debian GLIBC 2.41-1) stable release version 2.41")),
        "opt/libx.so.1": library(),
        f"{LIBRARIES}/libx.so.1": library(),
    }
    assert paths(load(WANTS_X, files)) == ["/opt/libx.so.1"]
    del files["opt/libx.so.1"]
    assert paths(load(WANTS_X, files)) == ["/lib/x86_64-linux-gnu/libx.so.1"]


def test_origin_in_runpath_and_rpath() -> None:
    files = {f"{SITE}/native.libs/libx.so.1": library()}
    for origin in ("$ORIGIN/native.libs", "${ORIGIN}/native.libs"):
        assert paths(load(make_elf(needed=("libx.so.1",), runpath=origin), files)) == [f"/{SITE}/native.libs/libx.so.1"]
        assert load(make_elf(needed=("libx.so.1",), rpath=origin), files).missing == ()


def test_rpath_holds_for_what_the_library_needs_and_runpath_does_not() -> None:
    files = {
        f"{SITE}/libs/libx.so.1": library(needed=("liby.so.1",)),
        f"{SITE}/libs/liby.so.1": library("liby.so.1"),
    }
    assert load(make_elf(needed=("libx.so.1",), rpath="$ORIGIN/libs"), files).missing == ()
    assert load(make_elf(needed=("libx.so.1",), runpath="$ORIGIN/libs"), files).missing == (
        Missing(library="liby.so.1", wanted_by=f"/{SITE}/libs/libx.so.1"),
    )
    # A RUNPATH of its own switches the RPATH of those that load it off.
    files[f"{SITE}/libs/libx.so.1"] = library(needed=("liby.so.1",), runpath="$ORIGIN/none")
    assert load(make_elf(needed=("libx.so.1",), rpath="$ORIGIN/libs"), files).missing != ()


def test_the_environment_comes_after_rpath_and_before_runpath() -> None:
    files = {f"{SITE}/libs/libx.so.1": library(), "opt/lib/libx.so.1": library()}
    env = {"env": ("LD_LIBRARY_PATH=/nowhere:/opt/lib",)}
    own, other = f"/{SITE}/libs/libx.so.1", "/opt/lib/libx.so.1"
    assert paths(load(make_elf(needed=("libx.so.1",), rpath="$ORIGIN/libs"), files, **env)) == [own]
    assert paths(load(make_elf(needed=("libx.so.1",), runpath="$ORIGIN/libs"), files, **env)) == [other]


def test_other_machines_are_passed_over() -> None:
    files = {
        "lib/x86_64-linux-gnu/libx.so.1": make_elf("aarch64", soname="libx.so.1"),
        "usr/lib/libx.so.1": library(),
    }
    assert paths(load(WANTS_X, files)) == ["/lib/libx.so.1"]
    del files["usr/lib/libx.so.1"]
    path = "/lib/x86_64-linux-gnu/libx.so.1"
    assert load(WANTS_X, files).missing[0].passed == (
        (path, "for aarch64"),
        (f"/usr{path}", "for aarch64"),
    )


def test_a_soname_is_loaded_once_whatever_its_file_is_called() -> None:
    first = make_elf(soname="libother.so.9", needed=("libx.so.1",), runpath="$ORIGIN")
    files = {
        f"{SITE}/libs/first.so": first,
        f"{SITE}/libs/libx-1234.so": library(),
        f"{SITE}/libs/libx.so.1": Link("libx-1234.so"),
    }
    module = make_elf(needed=("first.so", "libx.so.1"), runpath="$ORIGIN/libs")
    assert paths(load(module, files)) == [f"/{SITE}/libs/first.so", f"/{SITE}/libs/libx.so.1"]


def test_versions() -> None:
    need = (("libc.so.6", ("GLIBC_2.2.5", "GLIBC_2.99")),)
    (row,) = load(make_elf(needed=("libc.so.6",), verneed=need)).outdated
    assert (row.library, row.wanted_by, row.version, row.newest) == ("libc.so.6", MODULE, "GLIBC_2.99", "GLIBC_2.41")
    assert load(make_elf(needed=("libc.so.6",), verneed=need, weak=("GLIBC_2.99",))).outdated == ()


def test_a_library_without_versions_is_only_warned_about() -> None:
    module = make_elf(needed=("libx.so.1",), verneed=(("libx.so.1", ("X_2",)),))
    assert load(module, {f"{LIBRARIES}/libx.so.1": library()}).outdated == ()
    assert load(module, {f"{LIBRARIES}/libx.so.1": library(verdef=("X_1",))}).outdated[0].newest == "X_1"


def test_what_is_loaded_already_is_found_by_its_name() -> None:
    subject = make_subject({MODULE[1:]: WANTS_X, "opt/libx.so.1": library()})
    assert subject.facts is not None
    loader = Loader(subject, subject.facts)
    assert loader.load(MODULE).missing
    assert not loader.load(MODULE, loader.load("/opt/libx.so.1").loaded).missing


def musl(module: bytes, files: Files | None = None, path: str = "") -> Outcome:
    banner = b"musl libc (x86_64)\nVersion %s\n\0" + b"1.2.5\0"
    base: Files = {
        "lib/ld-musl-x86_64.so.1": make_elf(payload=banner),
        **python("3.13.5", prefix="usr/local", interp="/lib/ld-musl-x86_64.so.1"),
    }
    if path:
        base["etc/ld-musl-x86_64.path"] = path
    name = "usr/local/lib/python3.13/site-packages/native.abi3.so"
    subject = make_subject(
        {name: module, **(files or {})}, below=(base,), entrypoint=("/usr/local/bin/python3.13",), annotations=()
    )
    assert subject.facts is not None, subject.trouble
    return Loader(subject, subject.facts).load(f"/{name}")


def test_musl_is_itself_whatever_it_is_called_and_knows_no_versions() -> None:
    needed = ("libc.musl-x86_64.so.1", "libc.so.6", "libpthread.so.0")
    module = make_elf(needed=needed, verneed=(("libc.so.6", ("GLIBC_2.99",)),))
    outcome = musl(module)
    assert (outcome.missing, outcome.outdated) == ((), ())


def test_musl_has_a_list_of_folders() -> None:
    assert paths(musl(WANTS_X, {"usr/local/lib/libx.so.1": library()})) == ["/usr/local/lib/libx.so.1"]
    assert musl(WANTS_X, {"usr/local/lib/libx.so.1": library()}, path="/opt\n/lib").missing != ()
    assert paths(musl(WANTS_X, {"opt/libx.so.1": library()}, path="/opt\n/lib")) == ["/opt/libx.so.1"]


def test_a_runpath_of_one_that_loads_holds_on_musl() -> None:
    files = {
        "opt/libx.so.1": library(needed=("liby.so.1",)),
        "opt/liby.so.1": library("liby.so.1"),
    }
    assert musl(make_elf(needed=("libx.so.1",), runpath="/opt"), files).missing == ()
