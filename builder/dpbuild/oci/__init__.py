"""Values of the OCI image and distribution specs, and their codec. No I/O."""
