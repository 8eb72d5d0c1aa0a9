"""This plugin has a linear model of attributes, and an attack of one step."""

import harness


@harness.hookimpl
def harness_models():
    """Return the models of this plugin."""
    return [
        harness.ModelSpec(
            name="ridge",
            summary="ridge regression on small images",
            head="attributes",
            build="face_extras.ridge:build",
            train="face_extras.ridge:train",
        )
    ]


@harness.hookimpl
def harness_attacks():
    """Return the attacks of this plugin."""
    return [
        harness.AttackSpec(
            name="one-step",
            summary="one step along the gradient's sign, as large as the budget",
            run="face_extras.one_step:one_step",
            norms=("linf",),
        )
    ]
