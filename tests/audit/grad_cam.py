"""Maps of grad-cam 1.5.7 (MIT) on a small network, recorded in grad_cam.json.

    pip install --no-deps --target DIR grad-cam==1.5.7 opencv-python-headless ttach
    PYTHONPATH=DIR:. python tests/audit/grad_cam.py

It pulls packages that the tests do not need otherwise, so what it gives is kept.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

RECORDED = Path(__file__).with_suffix(".json")
LAYER, TARGET = "3", 2


def network() -> nn.Module:
    """Return a network with fixed weights, which depend on no version of torch."""
    module = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 6, 3, stride=2, padding=1),
        nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 5 * 5, 4),
    ).eval()  # fmt: skip
    random = np.random.default_rng(7)
    for parameter in module.parameters():
        drawn = 0.4 * random.standard_normal(tuple(parameter.shape))
        parameter.data = torch.from_numpy(drawn.astype(np.float32))
    return module.requires_grad_(False)


def pictures() -> torch.Tensor:
    """Return two pictures, (2, 3, 14, 14)."""
    drawn = np.random.default_rng(8).standard_normal((2, 3, 14, 14))
    return torch.from_numpy(drawn.astype(np.float32))


def main() -> None:
    """Record the maps at the resolution of the layer."""
    from pytorch_grad_cam import GradCAM, GradCAMPlusPlus
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    found = {}
    for name, kind in (("grad-cam", GradCAM), ("grad-cam++", GradCAMPlusPlus)):
        module = network()
        with kind(model=module, target_layers=[module[int(LAYER)]]) as cam:
            targets = [ClassifierOutputTarget(TARGET)] * 2
            images = pictures().requires_grad_()
            logits = cam.activations_and_grads(images)
            sum(target(row) for target, row in zip(targets, logits, strict=True)).backward()
            output, gradients = (
                part[0].numpy() for part in (cam.activations_and_grads.activations,
                                             cam.activations_and_grads.gradients)
            )  # fmt: skip
            map_ = cam.get_cam_image(images, None, targets, output, gradients)
        found[name] = np.maximum(map_, 0).round(7).tolist()
    RECORDED.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
