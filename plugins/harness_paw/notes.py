"""What training measured, and what the two combining layers weigh, stands in a model's card for analyses."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from harness.training import StateDict
from harness.training.unfinished import part
from harness_paw.cascade import Cascade, Scored, Whole
from harness_paw.stages import Stages

Told = dict[str, StateDict]
"""The results of the stages, by name."""
SHOWN = 6
"""The images whose heatmaps are kept."""
LARGEST = 112
"""The largest side of their pictures, in pixels."""
QUALITY = 90
EXAMINED = 512
"""The most images over which the places of crops are averaged."""


def whole_notes(module: Whole, stages: Stages, told: Told) -> dict[str, Any]:
    """Return the notes of a model that is the whole image's subnet alone."""
    return {**_common(module, stages, told), "parameters": {"whole": _count(module.whole)}}


def cascade_notes(module: Cascade, stages: Stages, told: Told) -> dict[str, Any]:
    """Return the notes of a cascade.

    - ``stages``: of each stage, ``loss`` by epoch, and ``accuracy`` by attribute on the validation images;
    - ``parameters``: how many each part of the model has; "localisation" is not in the model's own count;
    - ``switch`` and ``relation``: weights and biases of the two layers; row 0 of ``switch`` is the whole
      image's subnet, and row i that of attribute i's part;
    - ``own`` and ``whole``: by attribute, what ``switch`` weighs its own part's subnet and the whole image's;
    - ``places``: by attribute, mean and standard deviation of row and column of its crop's centre, as shares
      of height and width;
    - ``heatmaps``: of a few images, the picture (JPEG), the heatmaps (uint8, scaled from each one's smallest
      to its largest value) and the centres of the crops, with the crops' sides, in pixels; bytes are in
      base64.
    """
    notes = _common(module, stages, told)
    notes |= {"regions": module.regions, "combination": module.combination, "crop": module.crop}
    notes["parameters"] = _counts(module)
    if module.combination != "own-part":
        notes |= {
            "switch": {"weight": _rows(module.switch_weight), "bias": _rows(module.switch_bias)},
            "relation": {"weight": _rows(module.relation_weight), "bias": _rows(module.relation_bias)},
        }
        if module.regions == "localised":
            weight = module.switch_weight.detach().cpu()
            notes["own"] = _by_name(module, weight[1:].diagonal())
            notes["whole"] = _by_name(module, weight[0])
    if module.regions == "localised":
        notes |= _located(module, stages)
    return notes


def _common(module: Scored, stages: Stages, told: Told) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for stage, result in told.items():
        own = part(result, "notes.")
        found[stage] = {"loss": _rows(own["curve"])}
        if "hint-curve" in own:
            found["hint"] = {"loss": _rows(own["hint-curve"])}
        for name, accuracy in part(own, "accuracy.").items():
            there = found.setdefault(name, {})
            if len(accuracy):
                there["accuracy"] = _by_name(module, accuracy)
                there["mean_accuracy"] = round(float(accuracy.mean()), 4)
    return {"multi_net": stages.recipe.multi_net, "subnet": stages.design.subnet, "stages": found}


def _counts(module: Cascade) -> dict[str, int]:
    parts = _count(module.parts)
    counts = {"subnet": parts // module.parts.count, "parts": parts}
    if module.localiser is not None:
        # Its weights are buffers, beside which it has the statistics of batch normalisation.
        statistics = ("running_mean", "running_var")
        counts["localisation"] = sum(
            tensor.numel()
            for name, tensor in module.localiser.named_buffers()
            if not name.endswith(statistics)
        )
    if module.combination != "own-part":
        counts["whole"] = _count(module.whole)
        counts["switch"] = module.switch_weight.numel() + module.switch_bias.numel()
        counts["relation"] = module.relation_weight.numel() + module.relation_bias.numel()
    return counts


def _located(module: Cascade, stages: Stages) -> dict[str, Any]:
    """Return where crops lie, and a few heatmaps, on validation images, or without any on training images."""
    faces = stages.faces
    rows = faces.unseen if len(faces.unseen) else faces.rows
    height, width = faces.dataset.shape[1:]
    size = torch.tensor([height, width])
    there = faces.answers(rows[:EXAMINED], lambda x: module.localise(x)[1]) / size  # (N, M, 2)
    spread = torch.cat([there.mean(0), there.std(0, correction=0)], 1)  # (M, 4)
    places = {
        name: [round(value, 4) for value in values]
        for name, values in zip(module.attribute_names, spread.tolist(), strict=True)
    }
    shown = rows[np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).astype(int)]
    x = faces.images(shown)
    with torch.no_grad():
        heatmaps, centres = module.localise(x)
    low, high = heatmaps.amin((2, 3), keepdim=True), heatmaps.amax((2, 3), keepdim=True)
    levels = (255 * (heatmaps - low) / (high - low).clamp_min(1e-12)).round().byte().cpu()
    resized = module.resized(x)
    side = module.design.crop_side(resized.shape[2], resized.shape[3])
    return {
        "places": places,
        "heatmaps": {
            "samples": [str(faces.dataset.ids[row]) for row in shown],
            "pictures": [_jpeg(image) for image in x.cpu()],
            "attributes": list(module.attribute_names),
            "shape": list(levels.shape),
            "values": base64.b64encode(levels.numpy().tobytes()).decode(),
            "centres": [
                [[round(value, 1) for value in place] for place in rows] for rows in centres.tolist()
            ],
            "size": [height, width],
            "side": [side * height / resized.shape[2], side * width / resized.shape[3]],
        },
    }


def _jpeg(image: Tensor) -> str:
    """Return an image (C, H, W), made smaller where it is large, as a JPEG in base64."""
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()[:, :, ::-1]
    share = LARGEST / max(pixels.shape[:2])
    if share < 1:
        pixels = cv2.resize(pixels, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    _, octets = cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return base64.b64encode(octets.tobytes()).decode()


def _by_name(module: Scored, values: Tensor) -> dict[str, float]:
    return {
        name: round(value, 4) for name, value in zip(module.attribute_names, values.tolist(), strict=True)
    }


def _rows(values: Tensor) -> Any:
    """Return a tensor as lists of numbers of few digits."""
    rounded: Any = (values.detach().cpu().double() * 1e5).round().div(1e5).tolist()
    return rounded


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
