"""Random faithful programs against the bound: none of them may leave it."""
