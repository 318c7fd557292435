"""The layer stage: wheels and files become layer blobs in the store."""
