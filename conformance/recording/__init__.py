"""Recordings: what implementations did in a fixed set of scenarios, kept to be compared later."""
