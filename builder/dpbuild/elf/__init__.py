"""Facts of one ELF file."""
