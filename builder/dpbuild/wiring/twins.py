"""Options in the environment."""

import os


def twins() -> dict[str, str]:
    """Every ``DPBUILD_…`` variable."""
    return {name: value for name, value in os.environ.items() if name.startswith("DPBUILD_")}
