"""Neither moment is corrected for its bias.

Seen in: gsplat, SelectiveAdam, about 2025,
https://github.com/nerfstudio-project/gsplat/issues/604
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/nerfstudio-project/gsplat/issues/604"


class Adam(_frame.Adam):
    def corrections(self, t, o):
        return 1, 1  # mistake
