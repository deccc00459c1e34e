"""What a maintainer of optax would write: a library without classes, through the protocol."""

import pytest

from optconform.testing import conformance_tests

pytest.importorskip("optax")
KNOWN = "known-optax.toml"

TestSGD = conformance_tests("optax:sgd", dtypes=["float32"], known=KNOWN)
TestAdagrad = conformance_tests("optax:adagrad", dtypes=["float32"], known=KNOWN)
TestRMSprop = conformance_tests("optax:rmsprop", dtypes=["float32"], known=KNOWN)
TestAdadelta = conformance_tests("optax:adadelta", dtypes=["float32"], known=KNOWN)
TestAdam = conformance_tests("optax:adam", dtypes=["float32"], known=KNOWN)
TestAdamW = conformance_tests("optax:adamw", dtypes=["float32"], known=KNOWN)
