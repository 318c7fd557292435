"""``python -m hello [NAME]``."""

import os
import platform
import sys


def greeting(name: str) -> str:
    """One line: who is greeted, by which Python, as which user."""
    return f"Hello, {name}! This is Python {platform.python_version()} on {platform.machine()}, user {os.getuid()}."


if __name__ == "__main__":
    print(greeting(" ".join(sys.argv[1:]) or "world"))
