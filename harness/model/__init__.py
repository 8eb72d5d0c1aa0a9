"""Models are modules with their output types; what comes before and after a network is a value of its own."""

from __future__ import annotations

from harness.model.model import (
    Model as Model,
    can_be_followed as can_be_followed,
    cosine_distance as cosine_distance,
    euclidean as euclidean,
    frozen as frozen,
    ordinary as ordinary,
    out_of_memory as out_of_memory,
    squared_euclidean as squared_euclidean,
    wrap_model as wrap_model,
)
from harness.model.preprocessing import Preprocessed as Preprocessed, Preprocessing as Preprocessing
from harness.precision import exact as exact
