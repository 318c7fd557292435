"""Protocols: what the stages ask of the world."""
