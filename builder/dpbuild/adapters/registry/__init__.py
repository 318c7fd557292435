"""The registry client: the OCI distribution spec over sockets and urllib3, and nothing about what images mean."""
