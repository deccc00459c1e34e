"""What a maintainer of optax would write: a library without classes, through the protocol."""

import pytest

from optconform.testing import conformance_tests

pytest.importorskip("optax")
KNOWN = "known-optax.toml"

TestSGD = conformance_tests("optax:sgd", known=KNOWN)
TestAdagrad = conformance_tests("optax:adagrad", known=KNOWN)
TestRMSprop = conformance_tests("optax:rmsprop", known=KNOWN)
TestAdadelta = conformance_tests("optax:adadelta", known=KNOWN)
TestAdam = conformance_tests("optax:adam", known=KNOWN)
TestAdamW = conformance_tests("optax:adamw", known=KNOWN)
