"""Many clients at once against few providers, on each database."""
