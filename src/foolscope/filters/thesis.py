"""The attack files of the thesis on AGV, and the two chains that it publishes.

A file is JSON: "filters" a list of ids, "params" as many pairs of strength and intensity, nested or in one flat list.

The thesis and its authors' code disagree about two ids: the thesis says 2 Reyes and 3 Juno, the code, and the names
inside the files that it wrote, 2 Juno and 3 Reyes.  The published distances decide for the thesis: read its way, AGV-B
has the mean L-inf of 0.553 on CIFAR-10 that it reports, read the other way 0.371.  Both readings can be had.  The
chains' intensities at id 2, 0.627 and 0.500, lie in the range that is searched for Juno and outside that of Reyes: they
are taken as they are.

The authors' files also carry a pickle, "filters_data", which their server executed.  It is never looked at here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

IDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "thesis": ("clarendon", "gingham", "reyes", "juno", "lark"),
        "code": ("clarendon", "gingham", "juno", "reyes", "lark"),
    }
)
"""The filters' names by id, in both readings."""

AGV_A: Mapping[str, Any] = MappingProxyType(
    {
        "filters": [3, 4, 1, 2, 1],
        "params": [
            *(0.43613951312559374, 0.8994091811680429),
            *(0.5050261993283215, 0.9),
            *(0.35371316384925927, 0.9250003086924464),
            *(0.17773347728884065, 0.6268334228732433),
            *(0.488025762208443, 1.0783270741508866),
        ],
    }
)
"""Found against VGG19 on ImageNet: published success 13.44 %, mean L-inf 0.179."""

AGV_B: Mapping[str, Any] = MappingProxyType(
    {
        "filters": [0, 0, 2, 4, 1],
        "params": [
            *(0.7577025958148409, 1.2637950519386765),
            *(0.8991679228330147, 1.2926099528302888),
            *(0.7326465765557555, 0.5004430920320964),
            *(0.3428424934107466, 0.972881875932622),
            *(0.17510852306541175, 0.8992816402529958),
        ],
    }
)
"""Found against a DenseNet on CIFAR-10: published success 65 %, mean L-inf 0.553, detected 1 %."""
