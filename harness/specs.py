"""Specs are what plugins register: frozen descriptions that name their code and import none of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

HeadKind = Literal["attributes", "classes", "embedding"]
Access = Literal["gradients", "scores", "decisions"]
Budget = Literal["fixed", "minimal", "either"]
Compute = Literal["float32", "bfloat16"]
"""Precision of an attack's own passes; judging is always float32."""
Judge = Literal["here", "apart"]
"""Where attacks run: in the process that judges them, or in processes of their own."""
Trait = Literal["random", "unbounded", "universal"]
"""What an attack may be. "random": it looks for no direction, and any other must beat it. "unbounded":
without a budget it reaches every goal that can be reached. "universal": it learns one change for many."""
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Following:
    """Following says what gradients are; its fields are options of every attack that sees some."""

    eot: Annotated[int, Ge(1)] = 1
    """For a model that is random: how many evaluations each value and gradient is the mean of, which
    approaches that of the expectation (Athalye et al. 2018, Synthesizing Robust Adversarial Examples)."""
    bpda: bool = False
    """For a model whose gradient is 0 or misleading: values are its own, and gradients those of the module's
    ``differentiable(x)``, a substitute with the same outputs (Athalye et al. 2018, Obfuscated Gradients Give
    a False Sense of Security, section 4.1)."""

    def passes(self, forwards: float, backwards: float) -> tuple[float, float]:
        """Return what so many passes become; each backward pass belongs to one of the forward passes."""
        return forwards + backwards * (self.eot * (1 + self.bpda) - 1), backwards * self.eot


ACCESS_ORDER: tuple[Access, ...] = ("decisions", "scores", "gradients")
"""From the least to the most that a model shows of itself."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A spec has a name, a summary, a source and a revision, whatever it describes."""

    functions: ClassVar[tuple[str, ...]] = ("run",)
    """The fields that name functions whose keyword parameters are the manifest's keys."""
    given: ClassVar[tuple[str, ...]] = ()
    """Keyword arguments of theirs that the harness gives; no manifest can."""

    name: str
    """Lower case, words joined by hyphens, or as another library calls it; unique in plugin and kind."""
    summary: str
    """One line for `harness ls`."""
    source: str = ""
    """Where it comes from: paper, section, equation."""
    revision: int = 1
    """Raised when the same parameters begin to mean something else; part of every cell's identity."""
    revised: Callable[[Parameters], bool] | None = None
    """Which parameters the last revision gave another meaning; others keep the revision before. None: all."""
    later: Parameters = field(default_factory=dict)
    """Parameters that were added after the first release, with the value that means what was done before:
    with that value they are no part of identities, so that results and weights of before stay valid."""
    library: str = ""
    """The distribution that does the work, where that is another's; its version is part of the identity."""

    @property
    def shared(self) -> Parameters:
        """Return the options that the harness itself heeds, with their defaults; no function takes them."""
        return {}


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A data set spec names the function that loads a data set.

    ``load`` names a function ``(**params) -> harness.Dataset``. Its keyword parameters are the manifest's
    keys; a parameter named ``root`` is a folder on the user's disk.

    One that is ``derived`` is made from another data set, which the manifest names as ``source``: it is the
    first positional argument of ``load``, and of ``fit``.
    """

    functions: ClassVar[tuple[str, ...]] = ("load", "fit")

    load: str
    derived: bool = False
    fit: str | None = None
    """What must be learned before there are images: a function ``(source, context, **params) -> StateDict``,
    whose keyword parameters are keys of the manifest too. It runs once; the cache keeps what it returns, and
    ``load`` is given that as its last positional argument, or None where the data set is opened only to be
    planned: then everything but images must be there. Data sets with the same ``fit`` share it."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """A model spec names the functions that build and train a model, and what it answers.

    ``build`` names a function ``(task, **params) -> torch.nn.Module``; ``train``, where there is one, names
    ``(module, dataset, context, **params) -> None``. The manifest's keys are the keyword parameters of
    both. A module may have ``attribute_names`` (where it answers fewer than all attributes; then ``build``
    takes ``attributes``), ``training_loss(scores, labels)``, ``logits(x)`` and ``select(x, columns)``:
    see ``harness.model``. What training leaves in its ``training_notes``, a dict as JSON has them, stands in
    the card of the weights under "training", where analyses read it.
    """

    functions: ClassVar[tuple[str, ...]] = ("build", "train")

    build: str
    train: str | None = None
    head: HeadKind
    access: Access = "gradients"
    """The most that an attacker may see of it."""
    presets: Mapping[str, Parameters] = field(default_factory=dict)
    """Named parameter sets; the first is the default."""
    traits: frozenset[str] = frozenset()
    """What attacks may ask about, such as "joint-loss": one loss over all attributes at once; or
    "indirect-anchor": the module has a method of that name."""
    traits_of: Callable[[Parameters], frozenset[str]] | None = None
    """More traits, which depend on the model's parameters."""
    training_passes: Callable[[Parameters], float] | None = None
    """How often training shows every training image to every network, at most; for `harness plan`."""
    training_flops: Callable[[Parameters, int, float], float] | None = None
    """For a training that does not go through all images again and again: its operations, at most, by the
    parameters, the number of training images and the operations of one forward pass of one image."""
    counted_per: str = ""
    """What the parameter count is of, where a model is many equal networks: "attribute"."""
    counting: str = ""
    """What that count is of, where a reader would expect another number; `harness info` shows it."""
    card_size: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Height and width by preset for which `harness info` counts parameters."""
    card_attributes: int = 40
    """How many attributes `harness info` counts parameters for."""
    observes: tuple[str, ...] = ()
    """What it says of an image beside its scores: names of numbers that the module's method
    ``observe(x, columns) -> (B, len(observes))`` returns, of images (B, C, H, W) and of the output (B,) that
    each case is about, -1 where it is about none. The judge asks for them, of originals and of judged images,
    in float32; records have them as columns, "NAME_clean" and "NAME_adv", null where they are not finite.
    Raise the revision when a model begins to observe something else under the same name."""
    family: str = ""
    """Models of one plugin, of one revision, that name the same family share the parts that they train: a
    part with the same identity is trained for the first of them, and the others find it. Empty: alone."""
    example: str | None = None
    """Where not any data set will do: a function ``() -> harness.Dataset`` that makes a small one that will,
    for the contract kit."""

    @property
    def observed_columns(self) -> tuple[str, ...]:
        """Return the record columns of what it observes: of "crop_row", crop_row_clean and crop_row_adv."""
        return tuple(f"{name}_{when}" for name in self.observes for when in ("clean", "adv"))


@dataclass(frozen=True, kw_only=True)
class AttackSpec(Spec):
    """An attack spec names an attack function and says what it needs and can do.

    ``run`` names a function ``(model, x, objective, threat, *, rng, **params) -> x_adv``. One with the trait
    "universal" is also given ``fit`` (B,) bool, the images that it may learn on, and all cases of a target at
    once; it returns images for all, and is judged on the others.
    """

    functions: ClassVar[tuple[str, ...]] = ("region", "run")
    given: ClassVar[tuple[str, ...]] = ("rng", "fit")

    run: str
    heads: frozenset[HeadKind] = frozenset({"attributes", "classes", "embedding"})
    goals: frozenset[str] | None = None
    """Of embeddings: the goals that it can pursue in suites: "impersonate", "evade", "triplet"; None: all."""
    access: Access = "gradients"
    """The least that it needs to see of the model."""
    norms: tuple[str, ...] = ("linf", "l2")
    """The norms that it can keep to or minimise; the first is the default."""
    budget: Budget = "fixed"
    """"fixed" needs eps; "minimal" looks for the smallest, and an eps only bounds what counts."""
    region: str | None = None
    """Where it changes pixels: a function ``(height, width, **params) -> mask`` of bool (H, W), or (P, H, W)
    where each case may use one of P places. Its keyword parameters are the manifest's, beside those of
    ``run``. None: everywhere."""
    traits: frozenset[Trait] = frozenset()
    presets: Mapping[str, Parameters] = field(default_factory=dict)
    refuses: Callable[[ModelSpec, Parameters], str | None] | None = None
    """A reason why it is not run on this model with these parameters, or None. Must import no torch."""
    passes: Callable[[Parameters], tuple[float, float]] | None = None
    """Expected forward and backward passes per case for these parameters, at most; for `harness plan`."""
    tells: Mapping[str, str] = field(default_factory=dict)
    """Flags of boards after which it would tell if a model only masks its gradients, each with the parameters
    that it needs for that ("eot = 10"); an empty text where its defaults do."""

    @property
    def shared(self) -> Parameters:
        """Return the options of every attack that sees gradients, which its handle heeds."""
        return asdict(Following()) if self.access == "gradients" else {}

    def following(self, parameters: Parameters) -> Following:
        """Return what its gradients are with these parameters."""
        return Following(**{name: parameters[name] for name in self.shared if name in parameters})

    def forecast(self, parameters: Parameters) -> tuple[float, float] | None:
        """Return its forward and backward passes per case, at most; None if ``passes`` is unknown."""
        if self.passes is None:
            return None
        return self.following(parameters).passes(*self.passes(parameters))


@dataclass(frozen=True, kw_only=True)
class MeasureSpec(Spec):
    """A measure is a number per case, of an image pair.

    ``run`` names a function ``(x_adv, x, **params) -> (B,)`` of float32 images (B, C, H, W) in [0, 1].
    """

    run: str
    column: str = ""
    """Its column in the records; the name where empty."""


@dataclass(frozen=True, kw_only=True)
class MetricSpec(Spec):
    """A metric is a number per board row, of a table of records; its spec says how boards show it.

    ``run`` names a function ``(records: pandas.DataFrame) -> harness.metrics.Estimate``; ``columns`` are the
    record columns that it reads.
    """

    functions: ClassVar[tuple[str, ...]] = ()

    run: str
    columns: tuple[str, ...]
    goals: frozenset[str] | None = None
    """The goals whose cases it is of; boards read no records of others for it. None means of all."""
    unit: str = ""
    direction: Literal["higher is more robust", "lower is more robust", "neither"] = "neither"
    interval: bool = True
    """Whether the board has its 95 % interval, in two more columns that end in ``_low`` and ``_high``."""
    heading: str = ""
    """What tables for people call it; the name of its column on the board where empty."""
    digits: int = 3
    """How many decimals these tables show."""
    scale: float = 1.0
    """What they multiply the number by: 100 for percent."""
    explanation: str = ""
    """What it means, for the list below a table."""
    term: str = ""
    """What is explained there, where that is not the heading: metrics of one term share its explanation."""
    shown: Literal["always", "where known", "never"] = "where known"
    """Whether these tables have it: "always", and with its interval; where some row has a value; or "never",
    so that it is in leaderboard.parquet, CSV and JSON alone."""
    importance: int = 0
    """What matters least leaves a narrow terminal first; the number of cases has 10, the coverage 12."""


@dataclass(frozen=True, kw_only=True)
class AnalysisSpec(Spec):
    """An analysis makes a named table, and a figure, of all records of a suite.

    ``run`` names a function ``(results: harness.Results, **params) -> harness.Analysis``.
    """

    run: str


@dataclass(frozen=True, kw_only=True)
class ConverterSpec(Spec):
    """A converter lets another library see a model, as ``harness.to_<name>(model)``.

    ``run`` names a function ``(model: harness.Model, **params) -> object``.
    """

    run: str
