"""What a maintainer of torch-optimi would write."""

import pytest

from optconform.testing import conformance_tests

pytest.importorskip("optimi")
KNOWN = "known-optimi.toml"

TestSGD = conformance_tests("optimi:SGD", dtypes=["float32"], known=KNOWN)
TestAdam = conformance_tests("optimi:Adam", dtypes=["float32"], known=KNOWN)
TestAdamW = conformance_tests("optimi:AdamW", dtypes=["float32"], known=KNOWN)
