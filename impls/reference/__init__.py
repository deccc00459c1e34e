"""Optimizers written from their papers, one file each, the equation beside each line.

They share the frame in ``_common`` and nothing with the kernels of ``torch.optim``; their
checkpoints pass to and from the optimizers of the same name there (it has no Lion).
"""

from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam
from .adamax import Adamax
from .adamw import AdamW
from .lion import Lion
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "RMSprop"]
