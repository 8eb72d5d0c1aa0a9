"""Guards: what an attack does to the model, to shared code or to the process is its error, and is undone."""

from __future__ import annotations

import builtins
import gc
import os
import signal
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import harness.judge.verdict
import harness.threat
from harness import wrap_model
from harness.errors import ContractError, DatasetError
from harness.goals import FlipAttribute, FlipObjective
from harness.judge.guard.memory import Memory
from harness.judge.trial import Trial, attempt
from harness.model import Model
from harness.threat import Linf, Threat

SHAPE = (3, 6, 6)
LEVEL = 1 / 255
BUDGET = Linf(8 * LEVEL)
SCALE = 1.0
TABLE = {"offset": 0.0}


def helper(mean: Tensor) -> Tensor:
    return mean * SCALE + TABLE["offset"]


class Settings:
    def __init__(self) -> None:
        self.bias = 0.0


class Slotted:
    __slots__ = ("bias",)

    def __init__(self) -> None:
        self.bias = 0.0


class Brighter(nn.Module):
    """Score (B, 1) of "the mean is above half grey", by many kinds of attributes."""

    shift = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.gain = 1.0
        self.name = "score"
        self.plain = torch.zeros(1)
        self.array = np.zeros(1)
        self.parts = [torch.zeros(1), {"bias": 0.0}]
        self.settings = Settings()
        self.act = nn.LeakyReLU(1.0)
        self.free = lambda mean: mean
        self.last = nn.Linear(1, 1)
        nn.init.ones_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.last.register_forward_hook(keep_outputs)

    def forward(self, x: Tensor) -> Tensor:
        mean = helper(x.flatten(1).mean(1, keepdim=True) - 0.5)
        parts = self.parts[0] + self.parts[1]["bias"] + float(self.array[0])  # type: ignore[operator]
        score = self.last(self.free(mean) * self.gain) + self.plain + parts + self.settings.bias + self.shift
        return self.act(score) if self.name == "score" else -score  # type: ignore[no-any-return]


def keep_outputs(module: nn.Module, inputs: Any, outputs: Tensor) -> Tensor:
    return outputs


def brighter() -> Model:
    return wrap_model(Brighter().eval(), "attributes")


def greys(count: int = 3) -> Tensor:
    """Plain grey images a little below half grey; from 128 on they flip."""
    return torch.full((count, *SHAPE), 120 * LEVEL)


def run(attack: Callable[..., Any], model: Model, threat: Threat = BUDGET, **more: Any) -> Trial:
    x = greys()
    goal = FlipAttribute(torch.zeros(len(x), dtype=torch.long))
    return attempt(model, attack, x, goal, threat, seed=0, keys=["a", "b", "c"], parameters={}, **more)


def honest(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
    margin, slope = model.focus(objective).gradient(x, objective.margin)
    assert (margin < 0).all()
    return threat.project(x + slope.sign() + rng.uniform(x.shape[1:], 0, 1e-4), x)


def doing(harm: Callable[[Any], Any]) -> Callable[..., Tensor]:
    """An attack that does something, given the handle, and returns what it was given."""

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        harm(model)
        return x.clone()

    return attack


def module_of(model: Any) -> Any:
    """What no attack should do: reach under the handle."""
    return model._model.module


def refused(attack: Callable[..., Any], model: Model, match: str, **more: Any) -> None:
    """Require an error, and that honest attacks afterwards have the numbers that they had before."""
    before = run(honest, model, **more)
    assert before.verdict.success.all()
    with pytest.raises(ContractError, match=match):
        run(attack, model, **more)
    after = run(honest, model, **more)
    assert torch.equal(after.verdict.outputs, before.verdict.outputs)
    assert torch.equal(after.verdict.adversarials, before.verdict.adversarials)
    assert torch.equal(after.clean, before.clean)


@pytest.fixture(autouse=True)
def unharmed() -> Iterator[None]:
    """Nothing that these attacks do may reach other tests, even where a guard is broken."""
    kept = Brighter.forward, nn.Linear.forward, torch.argmax, F.linear, helper.__code__, helper.__defaults__
    folder, limit, dtype = Path.cwd(), sys.getrecursionlimit(), torch.get_default_dtype()
    mask = os.umask(0o022)
    os.umask(mask)
    yield
    Brighter.forward, nn.Linear.forward, torch.argmax, F.linear = kept[:4]  # type: ignore[method-assign]
    helper.__code__, helper.__defaults__ = kept[4:]
    os.chdir(folder)
    os.umask(mask)
    sys.setrecursionlimit(limit)
    torch.set_default_dtype(dtype)


# --- the module -------------------------------------------------------------------------------------------


class Opposite(Brighter):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


def opposite(self: Any, x: Tensor) -> Tensor:
    return torch.ones(len(x), 1)


def put_under_the_key(module: Any) -> None:
    (key,) = module.last._forward_hooks
    module.last._forward_hooks[key] = lambda module, inputs, outputs: outputs + 1


def fill(tensor: Tensor) -> None:
    with torch.no_grad():
        tensor.fill_(1)


def swap_code(module: Any) -> None:
    helper.__code__ = (lambda mean: mean + 1).__code__


def set_global(module: Any) -> None:
    global SCALE
    SCALE = -1.0


HARMS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "number": (lambda module: setattr(module, "gain", -1.0), "gain"),
    "text": (lambda module: setattr(module, "name", "other"), "name"),
    "number of a layer": (lambda module: setattr(module.act, "negative_slope", -1.0), "act.negative_slope"),
    "plain tensor in place": (lambda module: module.plain.fill_(1), "plain"),
    "plain tensor behind the version counter": (lambda module: module.plain.data.fill_(1), "plain"),
    "another plain tensor": (lambda module: setattr(module, "plain", torch.ones(1)), "plain"),
    "array": (lambda module: module.array.fill(1), "array"),
    "element of a list": (lambda module: module.parts.__setitem__(0, torch.ones(1)), "parts"),
    "tensor in a list": (lambda module: module.parts[0].fill_(1), "parts"),
    "number in a dict in a list": (lambda module: module.parts[1].__setitem__("bias", 1.0), "bias"),
    "attribute of an attribute": (lambda module: setattr(module.settings, "bias", 1.0), "settings.bias"),
    "class of an attribute": (
        lambda module: setattr(module.settings, "__class__", type("S", (), {"bias": 1.0})),
        "settings",
    ),
    "attribute that was not there": (lambda module: setattr(module, "shift", 1.0), "shift"),
    "attribute that is gone": (lambda module: delattr(module, "gain"), "gain"),
    "attribute of the class": (lambda module: setattr(type(module), "shift", 1.0), "shift"),
    "class": (lambda module: setattr(module, "__class__", Opposite), "class"),
    "forward of the class": (lambda module: setattr(type(module), "forward", opposite), "forward"),
    "forward of a layer's class": (lambda module: setattr(nn.Linear, "forward", opposite), "forward"),
    "call of the class": (lambda module: setattr(Brighter, "__call__", opposite), "__call__"),
    "code of a function": (lambda module: setattr(Brighter.forward, "__code__", opposite.__code__), "code"),
    "code of what the forward calls": (swap_code, "code"),
    "defaults": (lambda module: setattr(helper, "__defaults__", (0,)), "code"),
    "number that the forward reads": (set_global, "SCALE"),
    "dict that the forward reads": (lambda module: TABLE.update(offset=1.0), "offset"),
    "compiled call": (lambda module: setattr(module, "_compiled_call_impl", opposite), "_compiled_call_impl"),
    "compiled call of a layer": (
        lambda module: setattr(module.last, "_compiled_call_impl", lambda x: x + 1),
        "_compiled_call_impl",
    ),
    "function of the module": (lambda module: setattr(module, "free", lambda mean: mean + 1), "free"),
    "own hook under another's key": (put_under_the_key, "hooks"),
    "hook before": (lambda module: module.register_forward_pre_hook(lambda m, i: (i[0] + 1,)), "hooks"),
    "hook backward": (lambda module: module.register_full_backward_hook(lambda m, i, o: i), "hooks"),
    "hook of the state": (lambda module: module._register_state_dict_hook(lambda *_: None), "hooks"),
    "part of a part": (lambda module: setattr(module.last, "bias", nn.Parameter(torch.ones(1))), "last.bias"),
    "another layer": (lambda module: setattr(module, "act", nn.Threshold(9, 1)), "act"),
    "weight": (lambda module: fill(module.last.bias), "weights or buffers"),
    "size of a weight": (lambda module: module.last.bias.set_(torch.ones(2)), "weights or buffers"),  # type: ignore[no-untyped-call]
    "train mode": (lambda module: module.train(), "train mode"),
}


@pytest.mark.parametrize("name", HARMS)
def test_harm_to_a_module_is_an_error_and_undone(name: str) -> None:
    harm, place = HARMS[name]
    with torch.no_grad():
        refused(doing(lambda model: harm(module_of(model))), brighter(), place)


@pytest.mark.parametrize("name", ["number", "weight", "class", "forward of a layer's class"])
def test_harm_before_an_attack_fails_is_undone_too(name: str) -> None:
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        with torch.no_grad():
            HARMS[name][0](module_of(model))
        raise ZeroDivisionError

    refused(attack, brighter(), HARMS[name][1])


@pytest.mark.parametrize("name", ["weight", "plain tensor in place", "number", "hook before"])
@pytest.mark.parametrize("whose", ["victim", "surrogate"])
def test_both_models_of_a_transfer_are_watched(name: str, whose: str) -> None:
    victim, surrogate = brighter(), brighter()
    harmed = {"victim": victim, "surrogate": surrogate}[whose].module
    refused(doing(lambda model: HARMS[name][0](harmed)), victim, HARMS[name][1], surrogate=surrogate)


def test_numbers_and_weights_of_a_script_are_watched() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = 1.0
            self.last = nn.Linear(1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x.flatten(1).mean(1, keepdim=True) - 0.5) * self.gain  # type: ignore[no-any-return]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(Plain().eval())
    memory = Memory.of(script)
    assert not memory.changes()
    script.gain = -1.0
    kept = script.last.bias.clone()
    fill(script.last.bias)
    assert sorted(name for _, name in memory.changes()) == ["gain", "values"]
    memory.put_back()
    assert script.gain == 1.0
    assert torch.equal(script.last.bias, kept)


def test_slots_and_closures_are_watched() -> None:
    """A function that the module holds remembers a number, in a variable that another function can set."""

    def made() -> tuple[Callable[[Tensor], Tensor], Callable[[], None]]:
        more = 0.0

        def free(mean: Tensor) -> Tensor:
            return mean + more

        def change() -> None:
            nonlocal more
            more = 1.0

        return free, change

    model = brighter()
    model.module.free, change = made()  # type: ignore[assignment]
    refused(doing(lambda handle: change()), model, "free")
    model.module.settings = Slotted()  # type: ignore[assignment]
    refused(doing(lambda handle: setattr(module_of(handle).settings, "bias", 1.0)), model, "settings")


# --- what models do themselves ----------------------------------------------------------------------------


class Remembering(Brighter):
    """A sound model that writes to itself when it is asked, in many ways."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("asked", torch.zeros((), dtype=torch.long))
        self.calls = 0
        self.sizes: list[torch.Size] = []
        self.features: Tensor | None = None
        self.grid: dict[tuple[int, torch.dtype], Tensor] = {}
        self.statistics = Settings()

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.asked += 1  # type: ignore[operator]
        self.sizes.append(x.shape)
        self.features = x.flatten(1)
        key = len(x), torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if key not in self.grid:
            self.grid[key] = torch.zeros(len(x), 1)
        self.statistics.bias = float(x.detach().mean())
        return super().forward(x) + self.grid[key]


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_what_a_model_writes_to_itself_is_no_harm(compute: Any) -> None:
    model = wrap_model(Remembering().eval(), "attributes")
    first = run(honest, model, compute=compute)
    calls, sizes = model.module.calls, list(model.module.sizes)  # type: ignore[arg-type]
    assert calls == len(sizes) == int(model.module.asked) == 3  # clean, attacked, judged
    again = run(honest, model, compute=compute)
    assert first.verdict.success.all()
    assert torch.equal(again.verdict.adversarials, first.verdict.adversarials)
    # what is written while the guards ask is not left there
    assert model.module.calls == len(model.module.sizes) == int(model.module.asked) == 6  # type: ignore[arg-type]
    refused(doing(lambda handle: setattr(module_of(handle), "gain", -1.0)), model, "gain")


def test_what_a_model_remembers_cannot_be_forged() -> None:
    class Tabled(Brighter):
        """It builds a table when it is first asked."""

        table: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            if self.table is None:
                self.table = torch.zeros(1)
            return super().forward(x) + self.table

    model = wrap_model(Tabled().eval(), "attributes")
    refused(doing(lambda handle: fill(module_of(handle).table)), model, "table")
    model = wrap_model(Tabled().eval(), "attributes")

    def forge(handle: Any) -> None:
        assert module_of(handle).table is None
        module_of(handle).table = torch.ones(1)

    # the clean outputs are known, so that the model has not been asked before
    with pytest.raises(ContractError, match="table"):
        run(doing(forge), model, clean=torch.full((3, 1), 120 * LEVEL - 0.5))
    assert run(honest, model).verdict.success.all()


def test_a_randomised_model_that_remembers_is_not_blamed() -> None:
    class Noisy(Remembering):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 0.001 * torch.rand(len(x), 1)

    assert run(honest, wrap_model(Noisy().eval(), "attributes")).verdict.success.all()


# --- code that all share ----------------------------------------------------------------------------------


def light(*_: Any) -> Tensor:
    return torch.ones(3, 1)


class Nothing(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Lower(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def always_one(self: Any, outputs: Tensor) -> Tensor:
    return torch.ones(len(outputs), dtype=torch.bool)


SHARED: dict[str, tuple[Callable[[], Any], str]] = {
    "global hook": (
        lambda: nn.modules.module.register_module_forward_hook(lambda module, inputs, outputs: outputs + 1),
        "global forward hooks",
    ),
    "global hook before": (
        lambda: nn.modules.module.register_module_forward_pre_hook(lambda module, inputs: None),
        "global forward pre hooks",
    ),
    "argmax": (lambda: setattr(torch, "argmax", light), "torch.argmax"),
    "where": (lambda: setattr(torch, "where", light), "torch.where"),
    "function of layers": (lambda: setattr(F, "linear", light), "torch.nn.functional.linear"),
    "code of a function of layers": (lambda: setattr(F.relu, "__code__", light.__code__), "relu"),
    "method of tensors": (lambda: setattr(Tensor, "isfinite", light), "isfinite"),
    "operator of tensors": (lambda: setattr(Tensor, "__gt__", light), "__gt__"),
    "call of modules": (lambda: setattr(nn.Module, "__call__", light), "__call__"),
    "builtin": (lambda: setattr(builtins, "isinstance", lambda *_: True), "isinstance"),
    "builtin hidden in a module": (lambda: setattr(harness.judge.verdict, "len", lambda _: 0), "len"),
    "function of the judge": (
        lambda: setattr(harness.judge.verdict, "judge", light),
        "harness.judge.verdict.judge",
    ),
    "tolerance of the judge": (lambda: setattr(harness.threat, "FLOAT_TOLERANCE", 1.0), "FLOAT_TOLERANCE"),
    "goal": (lambda: setattr(FlipObjective, "reached", always_one), "reached"),
    "code of a goal": (lambda: setattr(FlipObjective.reached, "__code__", always_one.__code__), "reached"),
    "budget": (lambda: setattr(Threat, "distance", lambda self, delta: torch.zeros(len(delta))), "distance"),
    "scores": (lambda: setattr(Model, "scores", light), "scores"),
}


@pytest.mark.parametrize("name", SHARED)
def test_shared_code_that_is_replaced_is_an_error_and_put_back(name: str) -> None:
    harm, place = SHARED[name]
    refused(doing(lambda model: harm()), brighter(), place)


# --- the process ------------------------------------------------------------------------------------------


def enter(context: Any) -> None:
    """Enter a context and never leave it; keep it, so that it does not end when it is collected."""
    KEPT.append(context)
    context.__enter__()


KEPT: list[Any] = []

LEFT: dict[str, tuple[Callable[[], Any], str]] = {
    "inference mode": (lambda: enter(torch.inference_mode()), "inference mode"),
    "grad mode": (lambda: torch._C._set_grad_enabled(False), "grad mode"),
    "grad mode of a context": (lambda: enter(torch.no_grad()), "grad mode"),
    "default dtype": (lambda: torch.set_default_dtype(torch.float64), "default dtype"),
    "default device": (lambda: torch.set_default_device("meta"), "default device"),
    "device context": (lambda: enter(torch.device("meta")), "default device"),
    "function mode": (lambda: enter(Nothing()), "function modes"),
    "dispatch mode": (lambda: enter(Lower()), "dispatch modes"),
    "threads": (lambda: torch.set_num_threads(torch.get_num_threads() + 1), "number of threads"),
    "deterministic": (lambda: torch.use_deterministic_algorithms(True), "deterministic algorithms"),
    "benchmark": (lambda: setattr(torch.backends.cudnn, "benchmark", True), "cuDNN"),
    "precision": (lambda: torch.set_float32_matmul_precision("medium"), "precision of float32"),
    "autocast": (lambda: torch.set_autocast_enabled("cpu", True), "autocast"),
    "anomaly mode": (lambda: torch.set_anomaly_enabled(True), "anomaly mode"),
    "dual level": (lambda: torch.autograd.forward_ad.enter_dual_level(), "dual levels"),
    "saved tensors": (
        lambda: enter(torch.autograd.graph.saved_tensors_hooks(lambda t: t * 0, lambda t: t)),
        "hooks of saved tensors",
    ),
    "recursion limit": (lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 100), "recursion limit"),
    "umask": (lambda: os.umask(0o777), "umask"),
    "working directory": (lambda: os.chdir("/"), "working directory"),
    "environment": (lambda: os.environ.update(NEW_ONE="1"), "environment"),
    "standard output": (lambda: sys.stdout.close(), "output"),
    "standard error": (lambda: setattr(sys, "stderr", None), "output"),
    "file of the output": (lambda: os.close(1), "output"),
    "warnings": (lambda: warnings.simplefilter("ignore"), "warning filters"),
    "numpy": (lambda: np.seterr(all="raise"), "NumPy's error handling"),
    "signal": (lambda: signal.signal(signal.SIGUSR1, lambda *_: None), "signal handlers"),
    "alarm": (lambda: signal.alarm(1000), "timer"),
    "profile": (lambda: sys.setprofile(lambda *_: None), "profile function"),
    "garbage": (lambda: gc.callbacks.append(light), "garbage collector"),
    "exit": (lambda: sys.exit(0), "end the program: SystemExit 0"),
    "exit at once": (lambda: os._exit(0), "end the program: SystemExit 0"),
    "other end": (lambda: (_ for _ in ()).throw(GeneratorExit()), "end the program: GeneratorExit"),
}


@pytest.mark.parametrize("name", LEFT)
def test_state_left_behind_is_an_error_and_put_back(name: str) -> None:
    harm, place = LEFT[name]
    before = process_state()
    refused(doing(lambda model: harm()), brighter(), place)
    assert process_state() == before
    KEPT.clear()


def process_state() -> tuple[Any, ...]:
    return (
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.empty(0).device,
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.get_float32_matmul_precision(),
        torch.is_autocast_enabled("cpu"),
        sys.getrecursionlimit(),
        os.getcwd(),
        os.environ.get("NEW_ONE"),
        sys.stdout,
        sys.stderr,
        sys.stdout.closed,
        os.fstat(1).st_ino,
        ("ignore", None, Warning, None, 0) in warnings.filters,
        np.geterr(),
        signal.getsignal(signal.SIGUSR1),
        signal.getitimer(signal.ITIMER_REAL),
        sys.getprofile(),
        list(gc.callbacks),
        os._exit,
    )


def test_the_process_is_put_back_after_a_failure_too() -> None:
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        torch.set_default_dtype(torch.float64)
        os.chdir("/")
        raise ZeroDivisionError

    before = process_state()
    with pytest.raises(ZeroDivisionError):
        run(attack, brighter())
    assert process_state() == before


def test_what_imports_change_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sets_a_filter.py").write_text(
        "import os, warnings\nwarnings.filterwarnings('ignore', message='never heard of')\n"
        "os.environ['SET_BY_IMPORT'] = '1'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SET_BY_IMPORT", "0")

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        __import__("sets_a_filter")
        with warnings.catch_warnings(), torch.no_grad(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
        return x + 8 * LEVEL

    assert run(attack, brighter()).verdict.success.all()
    assert os.environ["SET_BY_IMPORT"] == "1"
    monkeypatch.delitem(sys.modules, "sets_a_filter")


def test_an_interrupt_ends_the_run() -> None:
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        torch.set_default_dtype(torch.float64)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(attack, brighter())
    assert torch.get_default_dtype() == torch.float32


def test_an_attack_cannot_pass_its_failure_off_as_one_of_the_data_set() -> None:
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        raise DatasetError("no images")

    with pytest.raises(ContractError, match="the attack failed: no images"):
        run(attack, brighter())


def test_a_child_process_may_end() -> None:
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this process has threads
            child = os.fork()
        if not child:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        return x + 8 * LEVEL

    assert run(attack, brighter()).verdict.success.all()


# --- what is judged, and by what --------------------------------------------------------------------------


class Sly(Tensor):
    """Its own code runs wherever it is used."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return super().__torch_function__(func, types, args, kwargs or {})


def test_a_subclass_of_tensors_is_no_image() -> None:
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        return (x + 8 * LEVEL).as_subclass(Sly)

    refused(attack, brighter(), "the attack returned Sly instead of a tensor")
    with pytest.raises(ContractError, match="asked about Sly"):
        run(doing(lambda model: model(greys().as_subclass(Sly))), brighter())


def test_methods_that_a_tensor_was_given_do_not_run() -> None:
    ran = []

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        found = x.clone()
        for name in ("detach", "to", "isfinite", "flatten", "is_floating_point"):
            setattr(found, name, lambda *_, name=name: ran.append(name) or x + 8 * LEVEL)
        return found

    assert not run(attack, brighter()).verdict.reached.any()
    assert not ran


@pytest.mark.parametrize("kind", ["originals", "answers", "goal", "goal replaced", "budget"])
def test_what_the_judge_uses_is_watched(kind: str) -> None:
    """It is found through the frames of the callers, as the garbage collector would find it."""

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        frame: types.FrameType | None = sys._getframe()
        while frame is not None and frame.f_code.co_name != "attempt":
            frame = frame.f_back
        assert frame is not None
        found = frame.f_locals
        if kind == "originals":
            found["x"].add_(40 * LEVEL)
            x.add_(40 * LEVEL)
        elif kind == "answers":
            found["clean"].neg_()
        elif kind == "goal":
            found["objective"].present.logical_not_()
        elif kind == "goal replaced":
            object.__setattr__(found["objective"], "present", ~found["objective"].present)
        else:
            object.__setattr__(found["threat"], "eps", 1.0)
        return x + 8 * LEVEL

    with pytest.raises(ContractError, match="changed what it is judged by"):
        run(attack, brighter(), threat=replace(BUDGET))


def test_a_model_that_changes_while_it_is_judged_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = brighter()
    judge = harness.judge.verdict.judge

    def meddling(*given: Any, **more: Any) -> Any:
        verdict = judge(*given, **more)
        fill(model.module.last.bias)  # type: ignore[union-attr, arg-type]
        return verdict

    monkeypatch.setattr("harness.judge.trial.judge", meddling)
    with pytest.raises(ContractError, match="weights or buffers"):
        run(honest, model)
    monkeypatch.undo()
    assert run(honest, model).verdict.success.all()
