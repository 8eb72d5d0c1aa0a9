"""The zoo holds what was learned, by identity: weights of models and fits of data sets, each made once."""

from __future__ import annotations

from harness.zoo.cards import (
    folder_of as folder_of,
    identity as identity,
    read_card as read_card,
    score as score,
)
from harness.zoo.trained import TrainedModel as TrainedModel, obtain as obtain
from harness.zoo.weights import load_weights as load_weights
