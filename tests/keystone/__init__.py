"""Moorage behind a real Keystone."""
