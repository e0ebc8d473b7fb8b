"""Moorage's own API, versioned by its path: claims, moves, audits."""
