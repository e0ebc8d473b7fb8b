"""Seeded runs of many clients against the real operations, held against an obvious model."""
