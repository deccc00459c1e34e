"""Optimizers to be judged: hand-written ones beside those of torch.optim."""
