"""The command line: people's way to start the service, look after its database and see it work."""
