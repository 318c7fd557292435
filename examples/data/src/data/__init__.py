"""A table, there and back again."""
