"""Moorage and upstream's service side by side, given the same requests."""
