"""Proof: whether an image can start and load what is in it, told from its files alone."""
