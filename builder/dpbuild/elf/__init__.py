"""Facts of one ELF file, read from its bytes and never by loading it."""
