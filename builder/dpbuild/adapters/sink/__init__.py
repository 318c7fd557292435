"""Where images are written."""
