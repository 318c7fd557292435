"""The target: what wheels must fit, and what markers are evaluated with. Derived from facts alone."""

from dpbuild.frozen import frozen
from dpbuild.oci.platform import Platform


@frozen
class Target:
    """``tags`` are ``interpreter-abi-platform`` strings, best first; ``markers`` holds every one of PEP 508's
    variables, sorted by name; ``uv_platform`` is the word of uv's ``--python-platform`` that comes closest,
    "" where uv has none for the machine.
    """

    platform: Platform
    python_version: str
    tags: tuple[str, ...]
    markers: tuple[tuple[str, str], ...]
    uv_platform: str

    @property
    def minor(self) -> str:
        """``3.13``."""
        return ".".join(self.python_version.split(".")[:2])

    @property
    def words(self) -> str:
        """What an error calls the target: ``cp313 manylinux_2_41_x86_64``."""
        interpreter = self.tags[0].partition("-")[0]
        platforms = (tag.rpartition("-")[2] for tag in self.tags)
        return f"{interpreter} {next((row for row in platforms if 'linux_' in row[1:]), self.platform)}"
