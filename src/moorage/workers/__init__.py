"""What runs by the clock instead of by request."""
