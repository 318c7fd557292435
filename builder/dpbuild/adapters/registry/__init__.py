"""The registry port over HTTP."""
