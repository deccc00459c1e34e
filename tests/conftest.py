"""Fixtures that several files ask for by name."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def like_a_worker() -> Iterator[None]:
    """One thread, for the tensors are small; and what is imported is no garbage."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(before)
