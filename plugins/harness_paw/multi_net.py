"""Multi-net learning trains the localisation network beside a classification branch (Figure 2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness_paw.subnet import Convolution, Subnet


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


def hint_loss(teacher: Tensor, student: Tensor) -> Tensor:
    """Return the mean of ||T - S||_2 over images, of maps (B, C, h, w) (eq. 1)."""
    # The square root has no gradient at 0.
    squares = (teacher.float() - student.float()).square().flatten(1).sum(1)
    return (squares + 1e-12).sqrt().mean()
