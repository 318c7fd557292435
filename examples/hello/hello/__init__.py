"""An app that says where it runs."""
