"""Where bases are read from."""
