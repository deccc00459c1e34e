"""Implementations that say of themselves what cannot be; ``Right`` is what they derive from.

tests/test_requests.py has the sentence by which each is refused.
"""


class Right:
    """As much of an implementation as a request looks at."""

    name, library, version = "mine:SGD", "mine", "1.0"
    spec, variant, slow = "sgd", {}, False

    def fixed(self, spec):
        return {}

    def changeable(self, spec):
        return ["lr"]

    def start(self, scenario, spec):
        raise NotImplementedError

    def repro(self, scenario, spec):
        return ""


def _fails(self, *_):
    raise ValueError("not today")


def _but(**attributes):
    return type("Wrong", (Right,), attributes)()


right = _but()

name_number = _but(name=3)
name_empty = _but(name=" ")
name_raises = _but(name=property(_fails))
library_none = _but(library=None)
version_tuple = _but(version=(1, 0))
spec_none = _but(spec=None)
spec_unknown = _but(spec="nospec")
spec_file = _but(spec="nospec.toml")
variant_text = _but(variant="decay")
variant_number = _but(variant={"decay": 3})
variant_axis = _but(variant={"noaxis": "l2"})
variant_value = _but(variant={"decay": "novalue"})
variant_needs = _but(variant={"decay_order": "after"})
slow_text = _but(slow="no")
fixed_none = _but(fixed=None)
fixed_raises = _but(fixed=_fails)
fixed_list = _but(fixed=lambda self, spec: ["lr"])
fixed_unknown = _but(fixed=lambda self, spec: {"rate": 1.0})
fixed_outside = _but(fixed=lambda self, spec: {"lr": -1.0})
changeable_raises = _but(changeable=_fails)
changeable_text = _but(changeable=lambda self, spec: "lr")
changeable_unknown = _but(changeable=lambda self, spec: ["lr", "rate"])
lacks_text = _but(lacks="groups")
lacks_unknown = _but(lacks=("group",))
clock_unknown = _but(clock="nonsense")
world_number = _but(world=3)
silent_text = _but(link="https://example.org", silent="decay")
keywords_dict = _but(keywords={})
constructed_raises = _but(constructor=print, keywords=_fails)
constructed_none = _but(constructor=print, keywords=lambda self, hyper: None)
long = _but(slow="no" * 1000)
slow_missing = type("Wrong", (), {n: v for n, v in vars(Right).items() if n != "slow"})()
