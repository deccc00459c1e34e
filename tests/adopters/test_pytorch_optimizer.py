"""What a maintainer of pytorch_optimizer would write, by its classes."""

import pytest

from optconform.testing import conformance_tests

library = pytest.importorskip("pytorch_optimizer")
KNOWN = "known-pytorch_optimizer.toml"

TestSGDW = conformance_tests(library.SGDW, spec="sgd", variant={"decay": "decoupled"}, known=KNOWN)
TestAdaDelta = conformance_tests("pytorch_optimizer:AdaDelta", known=KNOWN)
TestFlashAdamW = conformance_tests(
    "pytorch_optimizer:FlashAdamW", dtypes=["float32", "float64"], known=KNOWN
)
