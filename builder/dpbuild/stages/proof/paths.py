"""``sys.path`` and the search along it, from files and Env alone."""

import posixpath
from collections.abc import Callable, Iterator
from typing import Final

from dpbuild.archive.overlay import FileTree
from dpbuild.model.facts import Facts
from dpbuild.oci.config import ImageConfig
from dpbuild.stages.proof.accounts import Account
from dpbuild.stages.proof.scan import FileScan
from dpbuild.stages.proof.start import Start, setting

# Sources, bytecode without source; extension modules come from the facts (importlib.machinery).
_SUFFIXES: Final = (".py", ".pyc")


def sys_path(
    tree: FileTree,
    config: ImageConfig,
    facts: Facts,
    start: Start,
    user: Account,
    scan: Callable[[str], FileScan],
) -> tuple[str, ...]:
    """The folders in order, without what the started script adds.

    PYTHONPATH, the standard library, the site directories and what their .pth files add.
    """
    isolated = "I" in start.task.flags
    rows: list[str] = []
    if not (isolated or "E" in start.task.flags):
        here = config.working_dir or "/"
        rows += [posixpath.join(here, row) for row in (config.variable("PYTHONPATH") or "").split(":") if row]
    rows += [facts.stdlib, f"{facts.stdlib}/lib-dynload"]
    if "S" not in start.task.flags:
        for site in _sites(config, facts, start, user, scan):
            if tree.is_directory(site):
                rows += [site, *added_by_pth(tree, site, scan)]
    return tuple(dict.fromkeys(rows))


def _sites(
    config: ImageConfig,
    facts: Facts,
    start: Start,
    user: Account,
    scan: Callable[[str], FileScan],
) -> Iterator[str]:
    """The site directories: of the virtual environment, of the user, of the interpreter (the module ``site``)."""
    name = facts.stdlib.rpartition("/")[2]
    system = True
    if start.prefix:
        system = setting(scan(f"{start.prefix}/pyvenv.cfg").text, "include-system-site-packages").lower() == "true"
        yield f"{start.prefix}/lib/{name}/site-packages"
    if system and user.home and not (start.task.flags & {"s", "I"} or config.variable("PYTHONNOUSERSITE")):
        yield user_site(user, facts)
    if system:
        yield from facts.site_directories


def user_site(user: Account, facts: Facts) -> str:
    """The user's own site directory (site.USER_SITE)."""
    return f"{user.home}/.local/lib/{facts.stdlib.rpartition('/')[2]}/site-packages"


def added_by_pth(tree: FileTree, site: str, scan: Callable[[str], FileScan]) -> Iterator[str]:
    """The folders that the .pth files in a site directory add."""
    for _, folder in lines_of_pth(tree, site, scan):
        if tree.is_directory(folder):
            yield folder


def lines_of_pth(tree: FileTree, site: str, scan: Callable[[str], FileScan]) -> Iterator[tuple[str, str]]:
    """Each .pth file in a site directory with each path that it names (site: lines without ``import``)."""
    for name in tree.children(site):
        if not name.endswith(".pth") or name.startswith("."):
            continue
        for line in scan(f"{site}/{name}").text.splitlines():
            text = line.strip()
            if text and not text.startswith(("#", "import ", "import\t")):
                yield f"{site}/{name}", posixpath.normpath(posixpath.join(site, text))


def code_of_pth(tree: FileTree, site: str, scan: Callable[[str], FileScan]) -> Iterator[str]:
    """Each .pth file in a site directory with a line that Python executes (site: lines with ``import``)."""
    for name in tree.children(site):
        if name.endswith(".pth") and not name.startswith("."):
            lines = scan(f"{site}/{name}").text.splitlines()
            if any(line.startswith(("import ", "import\t")) for line in lines):
                yield f"{site}/{name}"


def find_module(
    tree: FileTree,
    folders: tuple[str, ...],
    name: str,
    suffixes: tuple[str, ...],
    spans: Callable[[str], bool] = lambda folder: False,
) -> tuple[str, ...]:
    """Where a dotted name is: its file, or the folders of a package; nothing where it is nowhere.

    ``suffixes`` are those of extension modules. As importlib's PathFinder: the first package or module wins,
    and folders without ``__init__`` are a namespace together if there is neither. ``spans`` says that the package
    in a folder goes on in all others.
    """
    found: tuple[str, ...] = ()
    if "/" in name:
        return ()
    for part in name.split("."):
        found = _find(tree, folders, part, suffixes, spans)
        folders = tuple(row for row in found if tree.is_directory(row))
        if not found:
            break
    return found


def _find(
    tree: FileTree, folders: tuple[str, ...], part: str, suffixes: tuple[str, ...], spans: Callable[[str], bool]
) -> tuple[str, ...]:
    namespace = []
    for folder in folders:
        path = f"{folder}/{part}"
        if any(tree.is_file(f"{path}/__init__{suffix}") for suffix in (*suffixes, *_SUFFIXES)):
            rest = (f"{row}/{part}" for row in folders if row != folder) if spans(path) else ()
            return (path, *(row for row in rest if tree.is_directory(row)))
        for suffix in (*suffixes, *_SUFFIXES):
            if tree.is_file(path + suffix):
                return (path + suffix,)
        if tree.is_directory(path):
            namespace.append(path)
    return tuple(namespace)
