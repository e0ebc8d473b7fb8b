"""Keeping the in-memory picture of the providers true to the store."""
