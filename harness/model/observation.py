"""What a model says of images beside its scores is asked here, as the judge asks for scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.errors import ContractError, ModelError
from harness.model.model import Model, frozen, ordinary
from harness.precision import exact


def observed(
    model: Model, names: Sequence[str], x: Tensor, columns: Tensor, *, batch_size: int = 256
) -> Tensor:
    """Return what a model observes of images (B, C, H, W), (B, len(names)) in float32 and eval mode.

    Args:
        names: of the observations, as the model's spec declares them.
        columns: (B,) the output that each case is about; -1 where it is about none.

    Raises:
        ModelError: the module has no method ``observe``, or it fails.
        ContractError: it returns another number of observations than there are names.
    """
    own = getattr(model.module, "observe", None)
    if not callable(own):
        raise ModelError(
            f"the model's spec declares the observations {', '.join(names)}, but its module has no method "
            "observe(x, columns); write it, or leave observes out of the spec"
        )
    columns = columns.to(model.device)
    with ordinary(), frozen(model.module), torch.no_grad(), exact(model.device):
        parts = [
            model._answer(own, images, chosen)
            for images, chosen in zip(
                torch.split(x.to(model.device), batch_size), torch.split(columns, batch_size), strict=True
            )
        ]
    found = torch.cat(parts)
    if found.shape[1] != len(names):
        raise ContractError(f"observe returned {found.shape[1]} numbers a case for {len(names)} names")
    return found
