"""What a Python project needs of Debian: to be built, and to run."""

from typing import Literal

from dpbuild.frozen import frozen, replace
from dpbuild.oci.descriptor import Pairs

# Config settings of a build backend (PEP 517): each name with its values.
Options = tuple[tuple[str, tuple[str, ...]], ...]


@frozen
class Build:
    """What building takes. ``packages`` are Debian packages, ``options`` config settings of the backend.

    ``version`` narrows the recipe's versions (PEP 440 specifier), "" for no further limit. ``fetch`` are commands
    that run with network in the unpacked sdist before the build. ``repair`` says that libraries which the wheel needs
    of the builder go into it; None where nothing says so or otherwise.
    """

    version: str = ""
    packages: tuple[str, ...] = ()
    options: Options = ()
    environment: Pairs = ()
    fetch: tuple[tuple[str, ...], ...] = ()
    repair: bool | None = None


@frozen
class Run:
    """What running takes. ``packages`` are Debian packages; ``without`` are those of their dependencies that are
    left out, because what the project does needs none of them.

    ``when`` is ``built`` if wheels from an index bring their own libraries, so that only a wheel that was
    built here needs the packages. ``unless`` names distributions (normalised) that make them needless.
    """

    packages: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    when: Literal["always", "built"] = "always"
    unless: tuple[str, ...] = ()


@frozen
class Recipe:
    """One project's. ``build`` and ``run`` hold for every suite, ``builds`` and ``runs`` what a suite
    (``debian12``) adds to them.

    ``name`` is normalised; ``version`` is a PEP 440 specifier, "" for any version; ``smoke`` is Python that must
    succeed in the image.
    """

    name: str
    summary: str = ""
    version: str = ""
    build: Build = Build()
    builds: tuple[tuple[str, Build], ...] = ()
    run: Run = Run()
    runs: tuple[tuple[str, Run], ...] = ()
    smoke: str = ""

    def build_on(self, suite: str) -> Build:
        """What building takes on a suite: its packages come after those of all suites, its settings win."""
        own = dict(self.builds).get(suite, Build())
        return Build(
            version=",".join(filter(None, (self.build.version, own.version))),
            packages=tuple(dict.fromkeys((*self.build.packages, *own.packages))),
            options=tuple(sorted({**dict(self.build.options), **dict(own.options)}.items())),
            environment=tuple(sorted({**dict(self.build.environment), **dict(own.environment)}.items())),
            fetch=own.fetch or self.build.fetch,
            repair=self.build.repair if own.repair is None else own.repair,
        )

    def run_on(self, suite: str) -> Run:
        """What running takes on a suite: its packages come after those of all suites."""
        own = dict(self.runs).get(suite, Run())
        return replace(
            self.run,
            packages=tuple(dict.fromkeys((*self.run.packages, *own.packages))),
            without=tuple(dict.fromkeys((*self.run.without, *own.without))),
        )
