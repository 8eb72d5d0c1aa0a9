"""A session is one run of a suite, with its progress, provenance, verification and forecast."""
