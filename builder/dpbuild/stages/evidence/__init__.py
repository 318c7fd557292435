"""Evidence: what is in an image, what it was made from, and who says so. Formats are in ``docs/evidence.md``."""
