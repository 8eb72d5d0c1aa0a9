"""Statements: what Rozsa et al. (Facial Attributes: Accuracy and Adversarial Robustness) claim, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A statement of the paper."""

    name: str
    paper: str
    """Its figures, in words."""
    conditions: str
    """Of what it is judged; {tau} is the threshold of PASS."""


MORE_THAN_FGS = Claim(
    "FFA+ flips at least as many cases as FGS+ at every τ",
    "Euclidean loss, τ = 0, .9, .95, .99: line 47.2, 38.1, 36.6, 30.0 % vs 41.8, 26.5, 23.0, 11.1 %; "
    "iterative 65.7, 63.6, 59.7, 47.0 % vs 56.6, 45.8, 40.5, 18.3 % (table 1)",
    "separate networks with Euclidean loss, right before the attack, same search; the paper's own softmax "
    "networks are an exception (iterative, τ = 0: 80.5 vs 88.5 %)",
)
WIDENING = Claim(
    "FFA's advantage over FGS widens with τ",
    "FFA+ minus FGS+ at τ = 0, .9, .95, .99: line 5.4, 11.6, 13.6, 18.9 points; iterative 9.1, 17.8, "
    "19.2, 28.7 points (table 1)",
    "separate networks with Euclidean loss, right before the attack; each step from one τ to the next, "
    "paired by case",
)
FGS_WITHIN_FFA = Claim(
    "FFA flips almost all cases that FGS flips",
    "almost all images that spawned FGS adversarials also spawned FFA adversarials (§3.3; no number)",
    "separate networks with Euclidean loss, same search, + and −, PASS ≥ {tau}; at least 95 % is read as "
    "almost all",
)
ITERATIVE_MORE = Claim(
    "iterative search flips at least as many cases as line search",
    "τ = .95, line → iterative: FGS+ 23.0 → 40.5, FFA+ 36.6 → 59.7, MOON 44.0 → 73.8 % (table 1; MOON's "
    "natural adversarials fall from 95.0 to 94.6 %)",
    "each converged model and attack, right before the attack, every τ",
)
NATURAL_MORE = Claim(
    "wrongly classified cases are flipped more often than right ones",
    "τ = .95, − vs +: FGS line 59.2 vs 23.0, FFA line 72.6 vs 36.6, MOON line 95.0 vs 44.0 % (table 1)",
    "each converged model, FFA and FGS, PASS ≥ {tau}",
)
NATURAL_COMMON = Claim(
    "natural adversarials are common",
    "FFA by line search at τ = .95 corrects 73 % (72.6) of the wrongly classified cases of separate "
    "networks, and 95 % of MOON's (abstract, table 1)",
    "FFA on separate networks with Euclidean loss and on MOON, wrong before the attack, PASS ≥ {tau}; at "
    "least half is read as common",
)
SOFTMAX_MORE = Claim(
    "networks trained with softmax loss are more vulnerable than with Euclidean loss",
    "adversarials of the converged networks: FFA 23,791 vs 16,021, FGS 14,478 vs 10,587; more at every τ "
    "(§5)",
    "separate networks, same attack and search, common attributes, + and −, every τ",
)
MOON_MORE = Claim(
    "MOON is flipped more often than separate networks",
    "FFA+ at τ = .95: line 44.0 vs 36.6 %, iterative 73.8 vs 59.7 % (table 1)",
    "FFA, separate networks with Euclidean loss, common attributes, right before the attack, PASS ≥ {tau}",
)
TOGETHER = Claim(
    "correlated attributes flip together on MOON, more than across separate networks",
    "flipping one attribute changes others more often than among separate networks (§4.2, figures 4, 5)",
    "FFA, separate networks with Euclidean loss, common attributes, PASS ≥ {tau}; the share of the other "
    "attributes' decisions that an adversarial changes",
)
NOT_MORE_ROBUST = Claim(
    "further training makes the networks no more robust",
    "adversarials at two epochs → converged, + and −: FGS 8,827 → 10,587, FFA 16,539 → 16,021 (table 2; "
    "FFA's number falls by 3 %, which the paper calls similar)",
    "models that differ only in their checkpoint, PASS ≥ {tau}; converged minus early, of the cases with "
    "an outcome at both",
)
HALF_REMAIN = Claim(
    "at least half of the cases with an early adversarial have one at convergence",
    "in both sets: FGS 5,884 of 8,827 (67 %), FFA 11,520 of 16,539 (70 %) (table 2)",
    "models that differ only in their checkpoint, PASS ≥ {tau}, either sign at convergence",
)
THIRD_STILL_FLIPS = Claim(
    "at least 30 % of early adversarials still flip the converged networks",
    "more than 30 % on average: the same perturbations still change the classification (§4.1, figure 4 "
    "right)",
    "early adversarials judged on the converged model, PASS ≥ {tau}, all attributes pooled",
)
