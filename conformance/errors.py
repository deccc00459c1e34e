"""The errors a user can cause.  Each carries one clear sentence; the command line prints it and
exits with status 2."""


class RequestError(ValueError):
    """The request itself cannot be carried out: unknown target, bad option, bad input file."""


class SpecError(RequestError):
    """A spec is not well formed; the sentence names the spec and the place in it."""
