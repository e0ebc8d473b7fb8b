"""Claims, leases and the runner: our own API, on each database."""
