"""A linear attribute model, and an attack of one step."""

import harness


@harness.hookimpl
def harness_models():
    """The models of this plugin."""
    return [
        harness.ModelSpec(
            name="ridge",
            summary="ridge regression on small pictures",
            head="attributes",
            build="face_extras.ridge:build",
            train="face_extras.ridge:train",
        )
    ]


@harness.hookimpl
def harness_attacks():
    """The attacks of this plugin."""
    return [
        harness.AttackSpec(
            name="one-step",
            summary="one signed step of the whole budget",
            run="face_extras.one_step:one_step",
            norms=("linf",),
        )
    ]
