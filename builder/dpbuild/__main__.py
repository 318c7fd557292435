"""``python -m dpbuild``."""

from dpbuild.cli.main import main

if __name__ == "__main__":
    main()
