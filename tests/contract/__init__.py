"""Upstream's own functional tests, unmodified, run against Moorage."""
