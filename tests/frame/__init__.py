"""Settings, identity, policy, log, command line: what stands around the API."""
