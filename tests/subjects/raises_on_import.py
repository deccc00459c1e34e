"""A subject file that cannot be imported."""

raise RuntimeError("not\nready")
