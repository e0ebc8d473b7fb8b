"""What the service tells about itself: log lines, redaction, metrics; imports nothing of ours."""
