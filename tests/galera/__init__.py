"""Moorage on both nodes of a Galera cluster."""
