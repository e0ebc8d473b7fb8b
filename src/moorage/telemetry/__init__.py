"""What the service tells about itself: log lines, redaction, metrics. It imports nothing of ours."""
