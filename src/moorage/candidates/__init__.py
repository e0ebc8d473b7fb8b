"""Search for candidates over an immutable snapshot: no SQL, HTTP, clock or randomness."""
