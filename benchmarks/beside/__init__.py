"""What ``compare.py`` is made of: dpbuild beside a Dockerfile."""
