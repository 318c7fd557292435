"""One TOML file per Python project: the Debian packages needed to build it and to run it."""
