"""optconform: proves which equations a deep-learning optimizer computes."""

if __name__ != "optconform":
    raise ImportError(
        "import optconform, not conformance: the folder is installed under that name "
        "(pip install -e . in the repository)"
    )

__version__ = "0.1.0"
