"""`demo/vgg`: the demo network, whose weights come with the package."""

from atlas import recipe
from atlas.errors import UserError
from atlas.model.sources.raw import Raw, fill_from_file, random_label


def build(spec: recipe.Model, seed: int) -> Raw:
    """Build the demo network and fill it.

    Raises
    ------
    UserError
        There is no demo network of this name, or the weights have a problem.
    """
    # Only here, so that an atlas of another network needs nothing of the demo.
    from atlas.demo import network, world  # noqa: PLC0415

    if spec.name != "demo/vgg":
        raise UserError(f"there is no demo network {spec.name!r}: write demo/vgg")
    if spec.weights == "default":
        module, label = network.load(), network.WEIGHTS.name
    else:
        module = network.DemoNetwork()
        label = random_label(seed)
        if spec.weights != "random":
            label = fill_from_file(module, spec)
    view = {"crop": network.SIZE, "mean": network.MEAN, "std": network.STD}
    return Raw(module, "vgg", label, world.CLASSES, view)
