"""One signed step of the whole budget."""


def one_step(model, x, objective, threat, *, rng, share: float = 1.0):
    """Images (B, C, H, W) a step away from ``x``, towards the goal."""
    _, slope = model.gradient(x, objective.margin)
    return threat.project(x + share * threat.eps * slope.sign(), x)
