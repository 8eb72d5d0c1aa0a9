"""TRADES and training on PGD's images: against formulas of numpy and scipy, and what the search promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import entropy
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.errors import ModelError
from harness.testing import Case, model_checks
from harness.threat import l2
from harness.training import Task
from harness.zoo.trained import obtain
from harness_bayes import adversarial_training as adversarial, cnn
from harness_bayes.adversarial_training import START, Ball, divergence, pgd_loss, trades_loss
from harness_bayes.mixture_data import MixtureDataset
from tests.bayes.two_class_problems import SPECS, Kept, accuracy, choice, of_one_class, pixels_of, problem
from tests.flat import flat

DEVICE = torch.device("cpu")
BALLS = [
    Ball(norm="l2", eps=0.7, steps=4),
    Ball(norm="linf", eps=0.1, steps=4),
    Ball(norm="l2", eps=0.4, steps=3, step_size=0.05),
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def drawn() -> MixtureDataset:
    return problem()


def linear(seed: int = 0) -> nn.Sequential:
    """Images (B, 1, 8, 8) to (B, 3), of which every gradient is known; of two, both KLs climb alike."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def noise(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 9) -> tuple[Tensor, Tensor]:
    return torch.rand(count, 1, 8, 8, generator=noise(1)), torch.arange(count) % 2


def walk(ball: Ball, start: Any, x: Any, uphill: Any) -> Any:
    """Where the search in the ball (rows of float64) ends, written with numpy."""

    def project(images: Any) -> Any:
        change = images - x
        if ball.norm == "linf":
            change = change.clip(-ball.eps, ball.eps)
        else:
            length = np.linalg.norm(change, axis=1, keepdims=True)
            change = change * np.minimum(1, ball.eps / np.maximum(length, 1e-12))
        return (x + change).clip(0, 1)

    images = project(start)
    for _ in range(ball.steps):
        slope = uphill(images)
        unit = np.sign(slope) if ball.norm == "linf" else slope / np.linalg.norm(slope, axis=1, keepdims=True)
        images = project(images + ball.step * unit)
    return images


@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("beta", [0.5, 6.0])
def test_trades_is_the_formula(ball: Ball, beta: float) -> None:
    network = linear()
    x, labels = batch()
    value = trades_loss(network, x, labels, noise(), ball=ball, beta=beta)
    weight, bias = (parameter.detach().double().numpy() for parameter in network.parameters())
    rows = x.flatten(1).double().numpy()
    start = rows + START * torch.randn(x.shape, generator=noise()).flatten(1).double().numpy()
    own = softmax(rows @ weight.T + bias, 1)
    # of KL(p || q), the gradient with respect to the logits of q is q - p
    x_adv = walk(ball, start, rows, lambda images: (softmax(images @ weight.T + bias, 1) - own) @ weight)
    crossed = -log_softmax(rows @ weight.T + bias, 1)[np.arange(9), labels.numpy()].mean()
    apart = rel_entr(own, softmax(x_adv @ weight.T + bias, 1)).sum(1)
    assert apart.min() > 1e-4
    assert float(value.detach()) == pytest.approx(crossed + beta * apart.mean(), rel=2e-4)


@pytest.mark.parametrize("ball", BALLS)
def test_the_loss_on_pgd_is_the_formula(ball: Ball) -> None:
    network = linear()
    x, labels = batch()
    value = pgd_loss(network, x, labels, noise(), ball=ball)
    weight, bias = (parameter.detach().double().numpy() for parameter in network.parameters())
    rows = x.flatten(1).double().numpy()
    truth = np.eye(3)[labels.numpy()]
    start = ball.random(x, noise()).flatten(1).double().numpy()
    x_adv = walk(ball, start, rows, lambda images: (softmax(images @ weight.T + bias, 1) - truth) @ weight)
    crossed = -log_softmax(x_adv @ weight.T + bias, 1)[np.arange(9), labels.numpy()].mean()
    assert float(value.detach()) == pytest.approx(crossed, rel=2e-4)


def test_divergence_is_that_of_scipy() -> None:
    one, other = torch.randn(6, 2, generator=noise(1)), 5 * torch.randn(6, 2, generator=noise(2))
    expected = entropy(softmax(one.numpy(), 1), softmax(other.numpy(), 1), axis=1)
    assert np.allclose(divergence(one, other).numpy(), expected, rtol=1e-4, atol=1e-6)
    far = torch.tensor([[100.0, -100.0]])
    assert float(divergence(far, -far)) == pytest.approx(200)
    assert float(divergence(one, one).abs().max()) == 0


def test_the_outer_gradient_is_that_of_the_whole_loss() -> None:
    """Through the answers to both images, and not through the search."""
    network, ball, beta = linear(), BALLS[0], 3.0
    x, labels = batch()
    trades_loss(network, x, labels, noise(), ball=ball, beta=beta).backward()
    found = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    with torch.no_grad():
        wanted = network(x)
    start = x + START * torch.randn(x.shape, generator=noise())
    x_adv = ball.worst(network, x, start, lambda outputs: divergence(wanted, outputs))
    clean, moved = network(x).softmax(1), network(x_adv).softmax(1)
    apart = (clean * (clean / moved).log()).sum(1).mean()
    loss = F.nll_loss(clean.log(), labels) + beta * apart
    expected = torch.autograd.grad(loss, list(network.parameters()))
    assert len(found) == 2
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("ball", BALLS)
def test_the_search_stays_in_ball_and_box_and_climbs(ball: Ball) -> None:
    torch.manual_seed(0)
    network = cnn.build(Task((1, 8, 8)))
    x, labels = batch(40)
    x[:10] = x[:10].round()  # at the edge of the box

    def loss(outputs: Tensor) -> Tensor:
        return F.cross_entropy(outputs, labels, reduction="none")

    start = ball.random(x, noise())
    x_adv = ball.worst(network, x, start, loss)
    for images in (start, x_adv):
        change = images - x
        size = change.flatten(1).abs().amax(1) if ball.norm == "linf" else l2(change)
        assert float(size.max()) <= ball.eps + 1e-5
        assert 0 <= float(images.min()) <= float(images.max()) <= 1
        assert float(size.max()) > 0.5 * ball.eps or images is x_adv
    with torch.no_grad():
        before, after = loss(network(start)), loss(network(x_adv))
        assert float((after > before).double().mean()) > 0.95
        assert float(after.mean()) > float(loss(network(x)).mean())
    assert not x_adv.requires_grad


def test_random_images_are_spread_over_the_ball() -> None:
    x = torch.full((500, 1, 8, 8), 0.5)
    lengths = l2(Ball(norm="l2", eps=0.3, steps=1).random(x, noise()) - x) / 0.3
    assert np.allclose(np.quantile(lengths.numpy(), [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.08)
    change = (Ball(norm="linf", eps=0.3, steps=1).random(x, noise()) - x) / 0.3
    assert np.allclose(np.quantile(change.numpy(), [0.1, 0.5, 0.9]), [-0.8, 0, 0.8], atol=0.02)


class Watched(nn.Module):
    """Dropout and batch statistics, as whoever trains another network may have; modes are noted."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, 2))
        self.modes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(self.training)
        out: Tensor = self.body(x)
        return out


def test_the_search_is_in_eval_mode_and_gives_weights_no_gradients() -> None:
    network = Watched().train()
    x, labels = batch()
    statistics = network.body[1].running_mean.clone()  # type: ignore[union-attr, operator]
    ball = BALLS[0]
    ball.worst(
        network, x, ball.random(x, noise()), lambda outputs: F.cross_entropy(outputs, labels).repeat(9)
    )
    assert network.modes == [False] * ball.steps
    assert network.training
    assert torch.equal(network.body[1].running_mean, statistics)  # type: ignore[arg-type]
    assert all(parameter.grad is None for parameter in network.parameters())
    network.modes.clear()
    trades_loss(network, x, labels, noise(), ball=ball, beta=1.0)
    assert network.modes == [False] * (1 + ball.steps) + [True, True]
    network.modes.clear()
    pgd_loss(network, x, labels, noise(), ball=ball)
    assert network.modes == [False] * ball.steps + [True]
    network.eval()
    pgd_loss(network, x, labels, noise(), ball=ball)
    assert not network.training


def trained(dataset: MixtureDataset, train: Any, **recipe: Any) -> cnn.Cnn:
    torch.manual_seed(0)
    module = cnn.build(Task.of(dataset))
    kept = recipe.pop("kept", Kept())
    flat(train)(module, dataset, kept.context(), **{"batch_size": 16, **recipe})
    return module


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_without_beta_trades_is_plain_training(drawn: MixtureDataset) -> None:
    plain = trained(drawn, cnn.train, epochs=2)
    assert same(trained(drawn, adversarial.train_trades, epochs=2, beta=0.0), plain)
    # and all but that where beta is next to nothing, although images are looked for
    nearly = trained(drawn, adversarial.train_trades, epochs=2, beta=1e-9)
    for a, b in zip(nearly.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-3)
    assert not same(trained(drawn, adversarial.train_trades, epochs=2), plain)


@pytest.mark.parametrize(
    ("train", "recipe"),
    [(adversarial.train_trades, {"beta": 3.0}), (adversarial.train_pgd, {})],
)
def test_it_learns_to_withstand(drawn: MixtureDataset, train: Any, recipe: dict[str, Any]) -> None:
    options = {"eps": 0.4, **recipe}
    robust, plain = trained(drawn, train, **options), trained(drawn, cnn.train)
    x, labels = pixels_of(drawn, "test")
    ball = Ball(norm="l2", eps=0.4, steps=20)

    def wrong(module: cnn.Cnn) -> float:
        def loss(outputs: Tensor) -> Tensor:
            return F.cross_entropy(outputs, labels, reduction="none")

        x_adv = ball.worst(module, x, x, loss)
        with torch.no_grad():
            return float((module(x_adv).argmax(1) != labels).double().mean())

    assert accuracy(robust, drawn) >= 0.95
    assert wrong(robust) < 0.5 * wrong(plain)


@pytest.mark.parametrize("train", [adversarial.train_trades, adversarial.train_pgd])
def test_it_is_repeatable_and_survives_a_kill(drawn: MixtureDataset, train: Any) -> None:
    whole = trained(drawn, train, epochs=3)
    kept = Kept(stop=lambda share: share > 0.5)
    with pytest.raises(KeyboardInterrupt):
        trained(drawn, train, epochs=3, kept=kept)
    assert len(kept.made) == 1
    kept.stop = lambda share: False
    assert same(trained(drawn, train, epochs=3, kept=kept), whole)


@pytest.mark.parametrize("changed", [{"eps": 0.4}, {"steps": 2}, {"norm": "linf"}, {"step_size": 0.1}])
@pytest.mark.parametrize("train", [adversarial.train_trades, adversarial.train_pgd])
def test_another_search_shares_nothing(drawn: MixtureDataset, train: Any, changed: dict[str, Any]) -> None:
    kept = Kept()
    trained(drawn, train, epochs=1, images=32, kept=kept)
    trained(drawn, train, epochs=1, images=32, kept=kept, **changed)
    assert len(kept.made) == 2


def test_another_beta_shares_nothing(drawn: MixtureDataset) -> None:
    kept = Kept()
    for beta in (1.0, 2.0):
        trained(drawn, adversarial.train_trades, epochs=1, images=32, kept=kept, beta=beta)
    assert len(kept.made) == 2


@pytest.mark.parametrize("train", [adversarial.train_trades, adversarial.train_pgd])
def test_faults_are_said_in_one_line(drawn: MixtureDataset, train: Any) -> None:
    with pytest.raises(ModelError, match="diverged in epoch 1") as caught:
        trained(drawn, train, learning_rate=1e5)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"classes \[0\]"):
        trained(of_one_class(drawn), train)


@pytest.mark.parametrize("name", ["cnn-trades", "cnn-pgd"])
def test_the_zoo_keeps_them(
    drawn: MixtureDataset, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    chosen = choice(name, epochs=1, steps=1)
    first = obtain(chosen, drawn, 0, DEVICE)
    again = obtain(chosen, drawn, 0, DEVICE)
    x = pixels_of(drawn, "test")[0]
    assert torch.equal(first.model.module(x), again.model.module(x))


@pytest.mark.parametrize("case", [*model_checks(SPECS["cnn-trades"]), *model_checks(SPECS["cnn-pgd"])])
def test_contract(case: Case) -> None:
    case()
