"""What no client should send: answered quickly with a clear 4xx, and nothing in the books moves."""
