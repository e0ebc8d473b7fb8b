"""One module per resource: what its bodies and queries mean, what its answers look like."""
