"""The HTTP edge: bytes in, one operation, bytes out. The only place that knows HTTP."""
