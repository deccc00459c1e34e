"""The oracle: what one step must compute, and how far any faithful implementation can be from it.

``scalars``    the arithmetic of hyperparameters and t, with its rounding errors
``bound``      values and bounds for every output of a step, closed under exact rewriting
``free``       the same along a run whose state cannot be seen
``exact``      an independent evaluation in Arb balls, to confirm what the bound says
"""
