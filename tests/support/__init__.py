"""What the suites share: databases, deployments, served processes and a plain HTTP client."""
