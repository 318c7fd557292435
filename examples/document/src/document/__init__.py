"""A letter as PDF."""
