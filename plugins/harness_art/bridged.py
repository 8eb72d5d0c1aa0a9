"""Bridged: how one of the Toolbox's attacks is offered, and what a manifest can say of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from harness.specs import Access, Budget, Parameters

Labels = Literal["always", "targets", "never", "reached"]


@dataclass(frozen=True, kw_only=True)
class Bridged:
    """One of the Toolbox's attacks as the harness offers it."""

    name: str
    """The Toolbox's own class."""
    summary: str
    source: str
    access: Access = "gradients"
    norms: tuple[str, ...] = ("linf", "l2")
    budget: Budget = "fixed"
    alone: bool = False
    """Each case in a call of its own; otherwise the cases that want the same go together, as one batch."""
    targets: bool = False
    """Its class takes ``targeted``; others pursue a named class as a problem of two classes."""
    labels: Labels = "always"
    """When it is told a class: always; only a class to be reached; never (it leaves the class that it finds);
    or always the class to be reached, and it does not leave classes."""
    answers: Literal["logits", "probabilities"] = "logits"
    masks: bool = False
    """It keeps to a region."""
    classes: int = 2
    """It needs a problem of so many; a class that is never the answer is added."""
    given: tuple[str, ...] = ()
    """Parameters that the bridge itself sets, beside those of ``GIVEN``."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Where the harness means something else by the Toolbox's name: the manifest's, by it."""
    kinds: Mapping[str, Any] = field(default_factory=dict)
    """Types of parameters that its signature does not tell exactly."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    added: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Type and default of parameters that its signature does not have."""
    passes: Callable[[Parameters], tuple[float, float]] | None = None
    universal: bool = False
    note: str = ""


GIVEN = ("self", "estimator", "classifier", "targeted", "batch_size", "verbose", "summary_writer")
"""What the bridge sets of every attack's parameters."""

_finite = Lt(math.inf)
Count = Annotated[int, Ge(1)]
Maybe = Annotated[int, Ge(0)]
Above = Annotated[float, Gt(0), _finite]
Least = Annotated[float, Ge(0), _finite]
Share = Annotated[float, Gt(0), Lt(1)]
Factor = Annotated[float, Gt(1), _finite]
Real = Annotated[float, Gt(-math.inf), _finite]

_COUNTS = """
    max_iter binary_search_steps max_halving max_doubling nb_grads num_trial sample_size init_size max_eval
    init_eval sub_dim nb_steps k query_limit freq_dim stride num_translations num_rotations nb_restarts p
    kernel_size eps_iter conjugate_sinkhorn_max_iter projected_sinkhorn_max_iter nb_parallel
"""
_ABOVE = """
    learning_rate initial_const largest_const delta sigma alpha eta finite_diff regularization variable_h
    lambda_param
"""
_LEAST = "confidence beta epsilon min_epsilon lambda_tv lambda_c lambda_s"

KINDS: dict[str, Any] = {
    **dict.fromkeys(_COUNTS.split(), Count),
    **dict.fromkeys(_ABOVE.split(), Above),
    **dict.fromkeys(_LEAST.split(), Least),
    **dict.fromkeys(("num_random_init", "nb_random_init"), Maybe),
    **dict.fromkeys(("decrease_factor", "step_adapt", "p_init"), Share),
    **dict.fromkeys(("const_factor", "eps_factor"), Factor),
    "eps_step": Above | None,
    "decay": Least | None,
    "theta": Real,
    "gamma": Annotated[float, Gt(0), Le(1)],
    "max_translation": Annotated[float, Ge(0), Le(100)],
    "max_rotation": Annotated[float, Ge(0), Le(180)],
    "bin_search_tol": Annotated[float, Ge(1e-4), _finite],
    "th": Count | None,
    "loss_type": Literal["cross_entropy", "difference_logits_ratio"] | None,
}
"""Types and bounds of the Toolbox's parameters by name; it checks them only once an attack is made."""
