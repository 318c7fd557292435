"""The image as the rules see it: files, facts, and what is in the files."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dpbuild.archive.entry import Entry
from dpbuild.archive.overlay import FileTree
from dpbuild.elf.facts import ElfFacts
from dpbuild.model.facts import Facts
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.platform import Platform
from dpbuild.ports.store import Store
from dpbuild.stages.contents import Contents
from dpbuild.stages.facts_interpreter import is_python, search_path, which
from dpbuild.stages.proof.accounts import Account, account
from dpbuild.stages.proof.owners import Distribution, Owners, distributions
from dpbuild.stages.proof.paths import sys_path
from dpbuild.stages.proof.scan import FileScan, LayerScan
from dpbuild.stages.proof.scans import file_scan
from dpbuild.stages.proof.start import Start, start


def _nobody(_names: frozenset[str]) -> dict[str, str]:
    return {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """``facts`` is None where the interpreter cannot be told, and ``trouble`` says why.

    Paths are given with a leading slash and with all links resolved, unless said otherwise. Nothing here is
    computed before it is asked for. ``providers`` gives the distributor's package of each library that one has;
    ``store`` remembers what was found in a layer, if there is one.
    """

    platform: Platform
    config: ImageConfig
    layers: tuple[Descriptor, ...]
    tree: FileTree
    scans: tuple[LayerScan, ...]
    contents: Contents
    facts: Facts | None
    trouble: str = ""
    providers: Callable[[frozenset[str]], dict[str, str]] = _nobody
    store: Store | None = None
    _owners: Owners = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_owners", Owners(self.tree, self.contents, lambda path: self.scan(path).text))

    # files

    @functools.cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Every path of the merged files, sorted, parents first."""
        return tuple(self.tree.entries())

    def scan(self, path: str) -> FileScan:
        """What is known of the content of the file that ``path`` leads to; empty where it is no file."""
        return file_scan(self.tree, self.scans, path)

    @functools.cached_property
    def scanned(self) -> Mapping[str, FileScan]:
        """Every file of which something is known, by path, sorted."""
        files = [row.files for row in self.scans]
        return {
            f"/{path}": scan
            for path, (layer, number) in self.tree.origins()
            if (scan := files[layer].get(number)) is not None
        }

    @functools.cached_property
    def elves(self) -> Mapping[str, ElfFacts]:
        """Every ELF file, by path, sorted."""
        return {path: row.elf for path, row in self.scanned.items() if row.elf is not None}

    def real(self, path: str) -> str | None:
        """The path with all links resolved; None where nothing is."""
        found = self.tree.resolve(path)
        return None if found is None else "/" + found

    def layer_name(self, index: int) -> str:
        """What a layer is called in evidence: its number from 1, and what the history says that made it."""
        made = [row.created_by for row in self.config.history if not row.empty_layer]
        text = " ".join(made[index].split()) if len(made) == len(self.layers) else ""
        words = f" ({text[:60]}…)" if len(text) > 60 else f" ({text})" if text else ""
        return f"layer {index + 1}{words}"

    # start

    @functools.cached_property
    def start(self) -> Start:
        """What a container starts, through shebangs to the interpreter and what it is told."""
        return start(self.tree, self.config, self.scan)

    @functools.cached_property
    def user(self) -> Account:
        """Whom a container runs as."""
        return account(self.config, self.scan)

    @property
    def argv(self) -> tuple[str, ...]:
        """What a container runs: Entrypoint and Cmd."""
        return (*self.config.entrypoint, *self.config.cmd)

    def said_in(self, word: str) -> str:
        """Where the image's config says this word of argv: ``Cmd`` or ``Entrypoint``."""
        return "Cmd" if word in self.config.cmd or word not in self.config.entrypoint else "Entrypoint"

    @property
    def program(self) -> str | None:
        """The file that argv[0] leads to, found along PATH as an engine does; None if there is none."""
        return self.real(found) if self.argv and (found := which(self.tree, self.config, self.argv[0])) else None

    @property
    def starts_python(self) -> bool:
        """Whether argv[0] is the interpreter itself."""
        if self.program is None:
            return False
        if self.facts is not None:
            return self.program == self.facts.interpreter
        return is_python(self.tree, self.program)

    @property
    def search_path(self) -> tuple[str, ...]:
        """The folders of PATH."""
        return tuple(row for row in search_path(self.config).split(":") if row)

    @property
    def working_dir(self) -> str:
        """The directory that a container starts in."""
        return self.config.working_dir or "/"

    # Python

    @functools.cached_property
    def sys_path(self) -> tuple[str, ...]:
        """``sys.path`` as far as files and Env say it, in order, without what the started script adds.

        PYTHONPATH, the standard library, the site directories and what their .pth files add; in a virtual
        environment those of it. Nothing where the interpreter cannot be told.
        """
        if self.facts is None:
            return ()
        return sys_path(self.tree, self.config, self.facts, self.start, self.user, self.scan)

    @functools.cached_property
    def distributions(self) -> tuple[Distribution, ...]:
        """Every installed distribution, wherever it lies, by path."""
        return distributions(self.tree)

    def owner(self, path: str) -> str:
        """The package that a file came with: ``numpy 2.2.6`` or ``libc6 2.41-12``; "" where none claims it."""
        return self._owners.of(path)

    def files_of(self, owner: str) -> tuple[str, ...]:
        """The files that a distribution's RECORD lists; ``owner`` is its name and version."""
        return self._owners.files(owner)
