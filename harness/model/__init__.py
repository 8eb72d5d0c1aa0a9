"""Models are modules with their output types; what comes before and after a network is a value of its own."""

from __future__ import annotations

from harness.model.layout import in_its_layout as in_its_layout
from harness.model.model import (
    NO_GRADIENT as NO_GRADIENT,
    Model as Model,
    can_be_followed as can_be_followed,
    cosine_distance as cosine_distance,
    euclidean as euclidean,
    frozen as frozen,
    ordinary as ordinary,
    out_of_memory as out_of_memory,
    plain as plain,
    put_to_eval as put_to_eval,
    squared_euclidean as squared_euclidean,
    torch_unchanged as torch_unchanged,
    wrap_model as wrap_model,
)
from harness.model.preprocessing import Preprocessed as Preprocessed, Preprocessing as Preprocessing
from harness.precision import exact as exact
