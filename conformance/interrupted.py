"""What a subject raises is told of it; what others raise while it is at work goes on.

pytest's own outcomes (skip, xfail, exit) derive from BaseException, as do the cancellations of some
frameworks: a subject that raises one would else turn its verdict into a skip.
"""

import signal


def from_outside(error: BaseException) -> bool:
    """Whether ``error`` is no doing of the subject: somebody interrupts, a generator is closed, or
    a handler of a signal raises, as that of pytest-timeout does."""
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        return True
    if isinstance(error, Exception | SystemExit):
        return False
    handlers = (signal.getsignal(s) for s in signal.valid_signals())
    codes = {getattr(h, "__code__", None) for h in handlers} - {None}
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code in codes:
            return True
        at = at.tb_next
    return False
