"""The rules of resource accounting: pure values and decisions, no input or output."""
