"""The five stages of the training are kept parts, each of which goes on epoch by epoch after a kill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.precision import passes
from harness.randomness import derived_seed
from harness.training import Context, StateDict
from harness.training.epochs import Stage
from harness.training.unfinished import part, train_part
from harness_paw.cascade import Cascade, as_buffers, blocks
from harness_paw.crop import hard_crops, hard_places, smoothed
from harness_paw.faces import Batch, Faces
from harness_paw.layers import Design
from harness_paw.learning import Identities, Loss, learn
from harness_paw.multi_net import MultiNet, attribute_loss, balanced_loss, hint_loss, value_weights
from harness_paw.recipe import Recipe
from harness_paw.subnet import Subnet


class Stages:
    """Stages are the trainings of the networks of a cascade; each method returns weights and measurements.

    A stage's result has the network under "net." and what was measured under "notes.". Its identity holds all
    that it depends on, and nothing else, so that models share the stages that they have in common.
    """

    def __init__(
        self,
        design: Design,
        recipe: Recipe,
        faces: Faces,
        context: Context,
        resized: Callable[[Tensor], Tensor],
        shape: tuple[int, int, int],
    ) -> None:
        """Prepare the stages.

        Args:
            resized: brings images to the size that the networks expect.
            shape: channels, height and width of the images then.
        """
        self.design, self.recipe, self.faces, self.context = design, recipe, faces, context
        self.resized, self.shape = resized, shape
        named = None if faces.names == faces.dataset.attribute_names else faces.names
        self.known = Identities(design, recipe, named)
        self.attributes = faces.labels.shape[1]
        self.share = (0.0, 1.0)
        """Where the next stage stands in the whole training."""

    # --- stage 1 ------------------------------------------------------------------------------------------

    def localisation(self) -> StateDict:
        """Return the localisation network, learned by multi-net learning or alone."""
        return train_part(self.context, self.known.localisation(), self._localisation)

    def _localisation(self, state: Path | None) -> StateDict:
        recipe = self.recipe
        localiser = self._seeded("localisation", self._localiser)
        weights = value_weights(self.faces.rates, recipe.localiser_balance)
        # By the shifted scores that the loss sees, an image first has the frequent values, so that maps learn
        # what speaks for the rare ones, and not what speaks against them.
        localiser.expect(torch.sigmoid(torch.logit(self.faces.rates) - (weights[1] / weights[0]).log()))
        weights = weights.to(self.context.device)
        edge = [-(-side // 2**self.design.localiser_poolings) for side in self.shape[1:]]
        width = recipe.branch_width if recipe.multi_net else None
        net = self._seeded(
            "branch", lambda: MultiNet(localiser, (edge[0], edge[1]), self.attributes, width)
        ).to(self.context.device)

        def loss(batch: Batch) -> Tensor:
            scores = net(self.resized(batch.images))
            return torch.stack([balanced_loss(each, batch.labels, weights) for each in scores]).sum()

        curve = self._learn("localisation", net, recipe.localiser_epochs, recipe.localiser_rate, loss, state)
        found = _named("net", localiser.state_dict()) | {"notes.curve": curve}
        found["notes.accuracy.localisation"] = self._accuracy(lambda x: net(x)[0])
        if recipe.multi_net:
            found["notes.accuracy.classification-branch"] = self._accuracy(lambda x: net(x)[1])
        return found

    # --- stage 2 ------------------------------------------------------------------------------------------

    def whole(self) -> StateDict:
        """Return g_0, the whole image's subnet, which learns from the localisation network and then alone.

        With "tnet" as the architecture, it is the localisation network itself.
        """
        teacher = self.localisation()
        if self.design.subnet == "tnet":
            return teacher
        return train_part(self.context, self.known.whole(), partial(self._whole, part(teacher, "net.")))

    def _whole(self, weights: StateDict, state: Path | None) -> StateDict:
        recipe, device = self.recipe, self.context.device
        teacher = self._localiser()
        teacher.load_state_dict(weights)
        as_buffers(teacher).eval().to(device)
        net = self._seeded("whole", self._subnet).to(device)
        net.expect(self.faces.rates)

        def hint(batch: Batch) -> Tensor:
            x = self.resized(batch.images)
            found = net.features(x)
            with torch.no_grad():
                wanted = teacher.features(x)
            if wanted.shape != found.shape:  # the teacher has finer maps
                wanted = F.adaptive_avg_pool2d(wanted, found.shape[2:])
            return hint_loss(wanted, found)

        def loss(batch: Batch) -> Tensor:
            return attribute_loss(net(self.resized(batch.images)), batch.labels)

        found: StateDict = {}
        begin, end = self.share
        middle = begin + (end - begin) * recipe.hint_epochs / (recipe.hint_epochs + recipe.whole_epochs)
        if recipe.hint_epochs:
            self.share = (begin, middle)
            hinted = train_part(
                self.context,
                self.known.whole(attributes=False),
                lambda state: {
                    "notes.curve": self._learn(
                        "hint", net, recipe.hint_epochs, recipe.hint_rate, hint, state
                    ),
                    **_named("net", net.state_dict()),
                },
            )
            net.load_state_dict(part(hinted, "net."))
            found["notes.hint-curve"] = hinted["notes.curve"]
        self.share = (middle, end)
        found["notes.curve"] = self._learn("whole", net, recipe.whole_epochs, recipe.whole_rate, loss, state)
        found["notes.accuracy.whole"] = self._accuracy(net)
        return found | _named("net", net.state_dict())

    # --- stage 3 ------------------------------------------------------------------------------------------

    def places(self, module: Cascade) -> Tensor:
        """Return (2, N, M, 2) the centres of the crops of the training images, plain and mirrored."""
        identity = {**self.known.localisation(), "part": "places", "smoothing": self.design.smoothing}
        return self.context.unit(identity, lambda: {"places": self._places(module)})["places"]

    def _places(self, module: Cascade) -> Tensor:
        assert module.localiser is not None
        localiser = module.localiser

        def places(x: Tensor) -> Tensor:
            with passes(self.recipe.precision, x.device):
                x = self.resized(x)
                heatmaps = localiser.heatmaps(localiser.features(x)).float()
            return hard_places(smoothed(heatmaps, self.design.smoothing), (x.shape[2], x.shape[3]))

        self.context.report(self.share[0], "localises the training images")
        rows = self.faces.rows
        plain = self.faces.answers(rows, places)
        mirrored = self.faces.answers(rows, lambda x: places(x.flip(3))) if self.recipe.flip else plain
        return torch.stack([plain, mirrored]).contiguous()

    def parts(self, module: Cascade, whole: StateDict) -> StateDict:
        """Return the parts' subnets, which begin as g_0; each learns all attributes on its own part."""
        return train_part(
            self.context, self.known.parts(module.regions), partial(self._parts, module, part(whole, "net."))
        )

    def _parts(self, module: Cascade, whole: StateDict, state: Path | None) -> StateDict:
        recipe, net = self.recipe, module.parts
        net.put([whole])
        images = self._part_images(module)

        def loss(batch: Batch) -> Tensor:
            scores = net(images(batch))  # (B, G, M)
            # Each subnet's loss is its own, so that all learn independently, as one by one.
            return attribute_loss(scores, batch.labels[:, None])

        curve = self._learn("parts", net, recipe.part_epochs, recipe.part_rate, loss, state)
        found = {"notes.curve": curve / net.count} | _named("net", net.state_dict())
        if module.regions == "localised":
            found["notes.accuracy.own-part"] = self._accuracy(
                lambda x: net(module.part_images(x)).diagonal(dim1=1, dim2=2)
            )
        return found

    # --- stages 4 and 5 -----------------------------------------------------------------------------------

    def layers(self, module: Cascade) -> StateDict:
        """Return the region switch and the attribute relation layer, learned on the scores of all subnets."""
        return train_part(
            self.context, self.known.layers(module.regions, module.combination), partial(self._layers, module)
        )

    def _layers(self, module: Cascade, state: Path | None) -> StateDict:
        recipe = self.recipe
        scores = self._subnet_scores(module)  # (2, N, G + 1, M)
        net = _Layers(module)

        def loss(batch: Batch) -> Tensor:
            known = scores[batch.mirrored.cpu(), batch.places.cpu()].to(batch.labels)
            with torch.autocast(batch.labels.device.type, enabled=False):
                return attribute_loss(module.switched(known), batch.labels)

        curve = self._learn("layers", net, recipe.layer_epochs, recipe.layer_rate, loss, state)
        module.eval()
        found = {"notes.curve": curve, "notes.accuracy.layers": self._accuracy(module)}
        return found | _named("net", net.state_dict())

    def _subnet_scores(self, module: Cascade) -> Tensor:
        """Return the scores of all subnets for the training images, plain and mirrored, in half precision."""
        self.context.report(self.share[0], "scores the training images")
        images, module = self._part_images(module), module.eval()
        rows = []
        with torch.no_grad():
            for mirrored in (0, 1) if self.recipe.flip else (0,):
                found = []
                for start in range(0, len(self.faces), self.faces.batch_size):
                    chosen = torch.arange(start, min(start + self.faces.batch_size, len(self.faces)))
                    x = self.faces.images(self.faces.rows[chosen.numpy()])
                    x = x.flip(3) if mirrored else x
                    there = torch.full_like(chosen, mirrored)
                    batch = Batch(x, torch.empty(0), chosen, there)
                    with passes(self.recipe.precision, x.device):
                        whole = module.whole(self.resized(x))
                        scores = torch.cat([whole[:, None], module.parts(images(batch))], 1)
                    found.append(scores.half().cpu())
                rows.append(torch.cat(found))
        return torch.stack(rows)

    def end_to_end(self, module: Cascade) -> StateDict:
        """Return the whole cascade but its localisation network, after learning end to end."""
        return train_part(
            self.context,
            self.known.end_to_end(module.regions, module.combination),
            partial(self._end_to_end, module),
        )

    def _end_to_end(self, module: Cascade, state: Path | None) -> StateDict:
        recipe, images = self.recipe, self._part_images(module)

        def loss(batch: Batch) -> Tensor:
            return attribute_loss(module.combined(self.resized(batch.images), images(batch)), batch.labels)

        curve = self._learn("end-to-end", module, recipe.final_epochs, recipe.final_rate, loss, state)
        found = {"notes.curve": curve, "notes.accuracy.end-to-end": self._accuracy(module)}
        own = {
            name: tensor for name, tensor in module.state_dict().items() if not name.startswith("localiser.")
        }
        return found | _named("net", own)

    # --- what all stages use ------------------------------------------------------------------------------

    def _learn(
        self, name: str, net: nn.Module, epochs: int, rate: float, loss: Loss, state: Path | None
    ) -> Tensor:
        stage = Stage(name, epochs, rate, self.share)
        return learn(stage, net, loss, self.faces, self.recipe, self.context, state)

    def _part_images(self, module: Cascade) -> Callable[[Batch], Tensor]:
        """Return what makes the parts (B, G, C, h, w) of a batch; places of crops are found once."""
        if module.regions == "grid":
            return lambda batch: blocks(self.resized(batch.images))
        places, side = self.places(module), self.design.crop_side(*self.shape[1:])

        def crops(batch: Batch) -> Tensor:
            x = self.resized(batch.images)
            there = places[batch.mirrored.cpu(), batch.places.cpu()].to(x.device)  # (B, M, 2)
            return hard_crops(x, there, side)

        return crops

    def _accuracy(self, scores: Callable[[Tensor], Tensor]) -> Tensor:
        return self.faces.accuracy(lambda x: scores(self.resized(x)))

    def _localiser(self) -> Subnet:
        return Subnet(self.shape[0], self.design.localiser_layers(self.attributes), self.attributes)

    def _subnet(self) -> Subnet:
        return Subnet(self.shape[0], self.design.subnet_layers(self.attributes), self.attributes)

    def _seeded(self, name: str, make: Callable[[], Any]) -> Any:
        """Make a network with weights that depend on the seed and the name, whatever was made before."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(self.context.seed, name))
            return make()


class _Layers(nn.Module):
    """_Layers are the parameters of the two combining layers of a cascade."""

    def __init__(self, module: Cascade) -> None:
        super().__init__()
        self.switch_weight, self.switch_bias = module.switch_weight, module.switch_bias
        self.relation_weight, self.relation_bias = module.relation_weight, module.relation_bias


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> StateDict:
    """Return tensors with a prefix, as they are now."""
    return {f"{prefix}.{name}": tensor.detach().clone() for name, tensor in tensors.items()}
