"""Contracts: what must hold of an optimizer whatever its equations are."""
