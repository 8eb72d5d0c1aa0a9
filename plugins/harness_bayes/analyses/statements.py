"""Statements: what Richardson and Weiss (A Bayes-Optimal View on Adversarial Examples) claim, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bars:
    """From where on a claim holds; the paper's words are vaguer than these numbers."""

    near: float = 0.99
    accurate: float = 0.95
    part: float = 0.5
    indistinguishable: float = 1.5
    tolerance: float = 0.15
    gain: float = 1.2
    agreement: float = 1.25
    contrast: float = 1.5

    @property
    def told(self) -> dict[str, str]:
        """As the conditions of claims name them."""
        shares = ("near", "accurate", "tolerance")
        return {
            name: f"{100 * bar:g} %" if name in shares else f"{bar:g}" for name, bar in vars(self).items()
        }


@dataclass(frozen=True)
class Claim:
    """A statement of the paper."""

    name: str
    short: str
    """For the figure."""
    paper: str
    """Its figures, in words."""
    conditions: str
    """Of what it is judged, and from where on it holds; the names of ``Bars`` stand in braces."""


OPTIMAL_ACCURATE = Claim(
    "the Bayes-optimal classifier is right on nearly all samples of symmetric data",
    "Bayes-optimal: accuracy near 100 %",
    "100 % on all 15 symmetric data sets (table 1)",
    "accuracy on symmetric samples of at least {near}",
)
ASYMMETRIC_WEAKER = Claim(
    "asymmetric data make the Bayes-optimal classifier vulnerable",
    "asymmetric: far less L2 than symmetric",
    "faces: below 1.5 asymmetric, about 3 symmetric (section 2.1, figures 1 and 4)",
    "mean L2 of the Bayes-optimal model on symmetric data at least {contrast} times that on asymmetric; of "
    "faces also below {indistinguishable} on asymmetric data",
)
HALF_DISTANCE = Claim(
    "what fools the Bayes-optimal classifier is half the distance to the other class's nearest subspace",
    "L2 is half the subspace distance",
    "Male: mean distance 6.2, mean L2 3 (figure 11, appendix D.1); other symmetric data sets the same",
    "mean over cases of L2 over half the distance within {tolerance} of 1, on symmetric samples",
)
CNN_BRITTLE = Claim(
    "CNNs are accurate and brittle where the optimal classifier is robust",
    "CNN: accurate, at most half of the L2",
    "accuracy 98 to 100 % on all 15 symmetric data sets, vulnerable on all (table 1, figure 6, which gives "
    "no numbers of L2)",
    "symmetric samples: mean L2 at most {part} of the Bayes-optimal model's, accuracy at least "
    "{accurate}; the CNN that others are variants of",
)
LINEAR_BRITTLE = Claim(
    "linear SVMs are accurate and brittle where the optimal classifier is robust",
    "linear SVM: accurate, at most half of the L2",
    "accuracy 100 % on all 15 symmetric data sets, vulnerable on all (table 1, figure 6, which gives no "
    "numbers of L2)",
    "symmetric samples: mean L2 at most {part} of the Bayes-optimal model's, accuracy at least {accurate}",
)
RBF_ROBUST = Claim(
    "RBF SVMs are more robust than CNNs on the same data",
    "RBF SVM: more L2 than CNN",
    "consistently robust, at accuracies of 86 to 100 % (section 3, table 1, figure 6; no numbers of L2)",
    "symmetric samples: mean L2 of the RBF SVM over the CNN's above 1",
)
WIDTH = Claim(
    "wider CNNs are not more robust",
    "CNN: width does not help",
    "no improvement by the number of filters (section 3, figure 8; no numbers)",
    "CNNs that differ in width alone: mean L2 of each at most {gain} of the narrowest one's",
)
DEPTH = Claim(
    "deeper CNNs are not more robust",
    "CNN: depth does not help",
    "no improvement by the number of layers (section 3, figure 8; no numbers)",
    "CNNs that differ in depth alone: mean L2 of each at most {gain} of the shallowest one's",
)
IMAGES = Claim(
    "more training images do not make CNNs more robust",
    "CNN: more images do not help",
    "no significant improvement up to 1 million images (section 3, figure 8; no numbers)",
    "CNNs that differ in training images alone: mean L2 of each at most {gain} of that of the fewest",
)
TRADES_COSTS = Claim(
    "adversarial training buys robustness with accuracy",
    "TRADES: robustness for accuracy",
    "depending on β robust, at lowered accuracy (section 3, figure 8 right; no numbers)",
    "the β of the largest mean L2: mean L2 over the plain CNN's above 1, and accuracy below the plain CNN's",
)
ATTACKS_AGREE = Claim(
    "the gradient attack and CW-L2 find similar distances",
    "gradient attack and CW-L2 agree",
    "similar perturbation magnitudes (section 2.1, appendix C.2; no numbers)",
    "Bayes-optimal and SVMs, cases that both broke: mean L2 of the gradient attack over CW-L2's between "
    "1/{agreement} and {agreement}",
)
REAL_ORDER = Claim(
    "on real images the models stand in the same order",
    "real images: RBF SVM above CNN, linear",
    "CNN and linear SVM vulnerable, RBF SVM robust (section 3, figure 9; no numbers)",
    "real images: mean L2 of the RBF SVM over the CNN's and over the linear SVM's above 1",
)
