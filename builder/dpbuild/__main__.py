"""``python -m dpbuild``."""

from dpbuild.cli.main import command

if __name__ == "__main__":
    command()
