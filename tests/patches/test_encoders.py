"""Patches become vectors by the network's own layers."""

import pytest
import torch
from PIL import Image
from torch import nn

from atlas.errors import UserError
from atlas.model.preprocessing import Preprocessor
from atlas.patches.encoders import network_encoder
from atlas.trace.record import record


def test_a_layer_that_the_network_does_not_use_is_told():
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module[0].spare = nn.Linear(2, 2)
    view = Preprocessor(32, 32, (0.5,) * 3, (0.5,) * 3)
    trace = record(module.eval(), torch.randn(1, 3, 32, 32))
    with pytest.raises(UserError, match="choose another layer"):
        network_encoder(module, "0.spare", trace, view, torch.device("cpu"))
    with pytest.raises(UserError, match="no such layer"):
        network_encoder(module, "none", trace, view, torch.device("cpu"))


def test_the_last_layer_that_is_used_and_not_the_last_that_is_there():
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module[0].spare = nn.Linear(2, 2)
    view = Preprocessor(32, 32, (0.5,) * 3, (0.5,) * 3)
    trace = record(module.eval(), torch.randn(1, 3, 32, 32))
    encoder = network_encoder(module, "", trace, view, torch.device("cpu"))
    assert encoder.name == "last map before 0"
    expected = module[0](view.tensor([Image.new("RGB", (32, 32))]))  # before it is none
    torch.testing.assert_close(encoder.maps([Image.new("RGB", (32, 32))]), expected)
