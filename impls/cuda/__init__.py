"""The six optimizers as kernels that are generated from the specs: for CUDA, and for the host.

One launch moves every tensor.  The equations are those of ``specs/``, the form in which they are
evaluated is settled in :mod:`.body`, and every rounding is pinned, so that the device, the host and
numpy give the same bits.
"""

import torch

if torch.__version__ < "2.7":  # AdamW is no Adam there
    raise ImportError(
        f"the generated optimizers need torch 2.7 or later, and this is {torch.__version__}"
    )

from optconform.impls.cuda.classes import SGD, Adadelta, Adagrad, Adam, AdamW, RMSprop

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "RMSprop"]
