"""What the service does: one verb per file, each loads, decides and writes in one transaction."""
