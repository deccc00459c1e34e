"""What implementations are called where those of several targets stand side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Message = dict[str, Any]


def told_apart(found: Sequence[tuple[str, Sequence[Message]]]) -> list[tuple[str, list[Message]]]:
    """Targets and what they have, with classes of one name in files of one name called by their
    folders as well; ``own`` is the name in the file then."""
    times = Counter(i["implementation"] for _, some in found for i in some)

    def named(folder: Path, i: Message) -> Message:
        own = i["implementation"]
        return {**i, "implementation": str(folder / own), "own": own} if times[own] > 1 else i

    made = []
    for target, some in found:
        file = Path(target.rpartition(":")[0])
        is_file = file.suffix == ".py"
        made.append((target, [named(file.parent, i) if is_file else i for i in some]))
    return made
