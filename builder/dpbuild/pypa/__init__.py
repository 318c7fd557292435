"""Values of the PyPA specs: wheels, tags, markers, scripts, locks. Nothing of the host. No I/O."""
