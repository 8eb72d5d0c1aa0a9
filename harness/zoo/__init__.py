"""The zoo holds what was learned, by identity: weights of models and fits of data sets, each made once."""

from __future__ import annotations

from harness.zoo.cards import folder_of, identity, read_card, score
from harness.zoo.trained import TrainedModel, obtain
from harness.zoo.weights import load_weights

__all__ = [
    "TrainedModel",
    "folder_of",
    "identity",
    "load_weights",
    "obtain",
    "read_card",
    "score",
]
