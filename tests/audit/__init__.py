"""The auditor: what it finds, what it leaves alone, and what its heals and undos do."""
