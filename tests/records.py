"""Records made up for the tests of the report."""

from __future__ import annotations

import base64
import copy
import json
import re
import zlib
from pathlib import Path
from typing import Any

from optconform.record import dumps, spec_summary
from optconform.reports.view import VERDICTS

SAMPLE = Path(__file__).parent / "data" / "record-sample.json"
Record = dict[str, Any]


def told(spec: str) -> dict[str, Any]:
    """What a record says of a bundled spec."""
    found: dict[str, Any] = json.loads(dumps(spec_summary(spec)))
    return found


def synthesised() -> Record:
    """20 libraries, 15 algorithms, 4 dtypes: a finding in every third, as long as real ones are."""
    sample = json.loads(SAMPLE.read_text("utf-8"))
    kinds = [f for r in sample["results"] for f in r["findings"] if f.get("repro")]
    loud = next(r for r in sample["results"] if r["verdict"] == "diverges")
    names = ["adam", "adamw", "sgd", "rmsprop", "adagrad", "adadelta"]
    specs = {n: told(n) for n in names}
    steps = {"ratio_by_step": [0.3 + 0.05 * k for k in range(8)]}
    verdicts = list(VERDICTS)
    results = []
    for library in range(20):
        for algorithm in range(15):
            for dtype in ("float32", "float64", "bfloat16", "float16"):
                n = len(results)
                found = copy.deepcopy(kinds[n % len(kinds)])
                found["summary"] += f" ({library}, {algorithm})"
                found["repro"] = "\n".join(f"x{k} = {(n + 7) * (k + 3)}" for k in range(120))
                found |= {"equation_name": "p", "variant_match": {"eps": "inside"}}
                results.append({
                    **loud, "library": f"library{library}", "version": f"{library}.0",
                    "implementation": f"library{library}.optim:Algorithm{algorithm}",
                    "spec": names[algorithm % 6], "dtype": dtype, "claimed": {},
                    "variant": {"eps": "inside"} if n % 3 == 0 else {},
                    "verdict": verdicts[n // 3 % 6] if n % 3 == 0 else "conforms",
                    "checks": {**loud["checks"], "tensors": {"param": steps, "exp_avg": steps}},
                    "findings": [found] if n % 3 == 0 else [],
                })  # fmt: skip
    return {**sample, "specs": specs, "results": results}


def poisoned(value: Any, poison: str, key: str = "") -> Any:
    """Every string of a record with something nasty behind it."""
    if isinstance(value, dict):
        return {k: poisoned(v, poison, k) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(item, poison, key) for item in value]
    kept = key in ("schema", "verdict", "spec")
    return value + poison if isinstance(value, str) and not kept else value


def cells(source: str) -> list[str]:
    """The markup that the page's cells open, as the browser unpacks it."""
    packed = re.search(r'<script type="text/plain" id="cells">([A-Za-z0-9+/=]*)</script>', source)
    assert packed
    found: list[str] = json.loads(zlib.decompress(base64.b64decode(packed[1])))
    return found
