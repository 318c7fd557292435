"""From the files of a base to its facts; nothing is run, and what cannot be told is an error that says so."""

import hashlib
import re
from typing import Final

from dpbuild.archive.overlay import FileTree
from dpbuild.errors import BaseImageError
from dpbuild.model.facts import Facts
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Pairs
from dpbuild.oci.platform import Platform
from dpbuild.stages import (
    facts_abi,
    facts_interpreter,
    facts_libraries,
    facts_packages,
    facts_sites,
    facts_stdlib,
    facts_surroundings,
    facts_version,
)
from dpbuild.stages.contents import Contents
from dpbuild.stages.facts_interpreter import Interpreter

_LIKELY: Final = re.compile(r"(?:.*/)?(?:bin/python[0-9.]*t?d?|lib[^/]*/python3\.\d+t?/(?:_sysconfigdata_.*|site)\.py)")
# GOARCH words and what the kernel calls the machine; for 32-bit arm the variant decides.
MACHINES: Final = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "arm": "arm",
    "386": "i686",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loong64": "loongarch64",
}


def read_facts(
    tree: FileTree, contents: Contents, config: ImageConfig, platform: Platform, annotations: Pairs = ()
) -> Facts:
    """The facts of the image with these files. Raises BaseImageError."""
    contents.prefetch(
        [
            *(path for path in tree.paths() if _is_likely(path)),
            *facts_libraries.likely(tree),
            *facts_packages.likely(tree),
        ]
    )
    python = facts_interpreter.find(tree, contents, config)
    _check_machine(python, platform)
    shared = _libpython(tree, contents, config, python)
    build = facts_abi.build_variables(tree, contents, python)
    free_threaded = bool(build.get("Py_GIL_DISABLED")) or bool(python.threads)
    suffixes = facts_abi.extension_suffixes(python, shared, build, free_threaded=free_threaded)
    site = facts_sites.sites(tree, contents, config, python, shared, str(build.get("PLATLIBDIR") or "lib"))
    soabi = str(build["SOABI"])
    machine = python.elf.machine
    version = facts_version.version(python, shared, config, annotations)
    packages, databases = facts_packages.packages(tree, contents)
    return Facts(
        interpreter=python.path,
        interpreter_sha256=hashlib.sha256(python.data).hexdigest(),
        version=version,
        implementation=soabi.partition("-")[0],
        soabi=soabi,
        extension_suffixes=suffixes,
        gil_disabled=free_threaded,
        debug=bool(build.get("Py_DEBUG")),
        machine={"v6": "armv6l"}.get(platform.variant, "armv7l") if machine == "arm" else machine,
        libc=facts_libraries.libc(tree, contents, config, python),
        glibcxx=facts_libraries.glibcxx(tree, contents, config, python),
        stdlib=python.stdlib,
        purelib=site.purelib,
        scripts="/usr/local/bin",
        data=site.data,
        headers=f"{python.prefix}/include/python{python.version}{python.threads}",
        site_directories=site.directories,
        distributor=facts_packages.distributor(contents),
        packages=packages,
        package_databases=databases,
        missing_modules=facts_stdlib.missing(tree, python, shared, suffixes, site.directories),
        version_claims=facts_version.claims(version, python, config, annotations, packages),
        virtual_environment=site.environment,
        path_file=site.path_file,
        surroundings=facts_surroundings.read(tree, contents, config, python, shared, build, site.directories),
    )


def early(path: str) -> bool:
    """Whether the file of this path in a layer, without a slash at its beginning, may be read here.

    Who goes through the layers anyway takes its content along; what was missed is read when it is wanted.
    """
    return _is_likely(path) or facts_libraries.is_likely(path) or facts_packages.describes(f"/{path}")


def _is_likely(path: str) -> bool:
    """Whether the file may be read, so that it is taken along in the one pass over the layers."""
    return bool(_LIKELY.fullmatch(path)) or facts_sites.likely(path) or facts_surroundings.likely(path)


def _check_machine(python: Interpreter, platform: Platform) -> None:
    wanted = MACHINES.get(platform.architecture)
    if platform.os != "linux" or wanted is None:
        raise BaseImageError(f"images for {platform} are not supported")
    if python.elf.machine != wanted:
        raise BaseImageError(
            f"the image says it is for {platform}, but its interpreter is for {python.elf.machine}",
            where=python.path,
        )


def _libpython(tree: FileTree, contents: Contents, config: ImageConfig, python: Interpreter) -> bytes:
    """The bytes of the library that the interpreter is in, or none if it is in the program itself."""
    for name in python.elf.needed:
        if name.startswith("libpython"):
            found = facts_libraries.library(tree, contents, config, python, name)
            if found is None:
                raise BaseImageError(f"the interpreter needs {name}, which the base does not have", where=python.path)
            return found[1]
    return b""
