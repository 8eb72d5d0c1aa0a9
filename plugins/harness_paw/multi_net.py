"""Multi-net learning trains the localisation network beside a classification branch (Figure 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness_paw.subnet import Convolution, Subnet

HEAVIEST = 20.0
"""How often an image with the rarer value of an attribute may count as much as one with the other value."""


class MultiNet(nn.Module):
    """A MultiNet has the localisation network, and a branch of two fully connected layers on its modules.

    The branch begins after the fifth module of convolutions, with VGG-16's pooling there, and is dropped
    after the training. Without a branch, the localisation network learns alone.
    """

    def __init__(self, localiser: Subnet, size: tuple[int, int], attributes: int, width: int | None) -> None:
        """Wrap a localisation network.

        Args:
            size: the height and width of its maps.
            width: the hidden units of the branch; None: no branch.
        """
        super().__init__()
        self.localiser = localiser
        self.branch = None
        if width is not None:
            last = localiser.layers[-1]
            assert isinstance(last, Convolution)
            inputs = last.weight.shape[1] * -(-size[0] // 2) * -(-size[1] // 2)
            self.branch = nn.Sequential(
                nn.MaxPool2d(2, ceil_mode=True),
                nn.Flatten(),
                nn.Linear(inputs, width),
                nn.ReLU(),
                nn.Linear(width, attributes),
            )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the scores (B, M) of the localisation branch, and of the classification branch if any."""
        shared = self.localiser.trunk(x)
        scores = [self.localiser.scores(self.localiser.rest(shared))]
        if self.branch is not None:
            scores.append(self.branch(shared))
        return scores


def attribute_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy L_attr of scores and labels (B, …, M), summed over all but images."""
    return F.softplus(-labels * scores.float()).flatten(1).sum(1).mean()


def value_weights(rates: Tensor, balance: float) -> Tensor:
    """Return the weights (2, M) in the loss of images without and with each attribute, 1 on average.

    Few faces wear a hat, and unweighted a network learns late where hats are.

    Args:
        rates: the share (M,) of the training images that have each attribute.
        balance: 1: both values of an attribute weigh the same in total, as far as ``HEAVIEST`` allows;
            0: all images weigh the same.
    """
    ratio = ((1 - rates) / rates).pow(balance).clamp(1 / HEAVIEST, HEAVIEST)
    absent = 1 / (1 - rates + rates * ratio)
    return torch.stack([absent, absent * ratio])


def balanced_loss(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return ``attribute_loss`` of scores and labels (B, M) with weights (2, M) of absent and present.

    The loss is of scores plus the logarithm of the weights' ratio, so that the network's own scores stay
    log-odds: by weights alone, it would learn to call every doubtful attribute present.
    """
    absent, present = weights
    shifted = scores.float() + (present / absent).log()
    weight = torch.where(labels > 0, present, absent)
    return (F.softplus(-labels * shifted) * weight).sum(1).mean()


def hint_loss(teacher: Tensor, student: Tensor) -> Tensor:
    """Return the mean of ||T - S||_2 over images, of maps (B, C, h, w) (eq. 1)."""
    # The square root has no gradient at 0.
    squares = (teacher.float() - student.float()).square().flatten(1).sum(1)
    return (squares + 1e-12).sqrt().mean()
