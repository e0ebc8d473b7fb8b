"""The database: all SQL of the service, and the only retry loop."""
