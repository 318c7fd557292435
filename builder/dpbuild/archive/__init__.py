"""Formats of files in files: tar, gzip, deflate, zip, and layers laid over each other."""
