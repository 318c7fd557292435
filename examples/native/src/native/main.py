"""The command line."""

import platform
import sys

from native import count


def main() -> None:
    """Say how many letters the arguments have, and where that was counted."""
    text = " ".join(sys.argv[1:]) or "distroless"
    libc = "-".join(platform.libc_ver())
    print(f"{count(text)} letters, counted on {platform.machine()} with {libc}, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
