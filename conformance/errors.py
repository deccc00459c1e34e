"""The errors a user can cause.  Each carries one clear sentence; the command line prints it and
exits with status 2."""


class RequestError(ValueError):
    """The request itself cannot be carried out: unknown target, bad option, bad input file."""


class SpecError(RequestError):
    """A spec is not well formed; the sentence names the spec and the place in it."""


def one_line(e: BaseException) -> str:
    """An exception's type and message on one line."""
    try:
        text = " ".join(str(e).split())
    except Exception:  # the subject's exception may be hostile as well
        text = ""
    return f"{type(e).__name__}: {text}"[:300] if text else type(e).__name__
