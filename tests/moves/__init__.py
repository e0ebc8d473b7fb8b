"""Moves: what both consumers of one hold on shared pools counts once."""
