"""dpbuild: reproducible images on distroless Python bases."""

__version__ = "0.1.0"
