"""The registry client: the OCI distribution spec over urllib3, and nothing about what images mean."""
