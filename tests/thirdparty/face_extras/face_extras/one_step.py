"""The attack makes one step along the gradient's sign, as large as the budget."""


def one_step(model, x, objective, threat, *, rng, share: float = 1.0):
    """Return images (B, C, H, W) that are one step away from ``x``, towards the goal."""
    _, gradient = model.gradient(x, objective.margin)
    return threat.project(x + share * threat.eps * gradient.sign(), x)
