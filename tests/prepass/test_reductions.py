"""What is kept of maps is what NumPy finds in them, in every precision and layout."""

import numpy as np
import pytest
import torch

from atlas.prepass import reductions


@pytest.fixture(params=["plain", "compiled"])
def reduce(request):
    return reductions.reduce if request.param == "plain" else reductions.compiled()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(2, 16, 5, 7), (1, 8, 3, 300), (3, 6, 4, 4), (2, 24, 1, 1)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_reductions_are_those_of_numpy(reduce, dtype, shape, layout):
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(shape, generator=generator).to(dtype).contiguous(memory_format=layout)
    maps[0, 0] = -maps[0, 0].abs()  # nothing positive
    maps[0, 1] = maps[0, 1].abs() + 1  # nothing else
    maps[0, 2] = 0
    exact = maps.double().numpy()
    largest, total, positive = reduce(maps, True)
    np.testing.assert_array_equal(largest.numpy(), exact.max((2, 3)).astype(np.float32))
    np.testing.assert_allclose(total.numpy(), exact.sum((2, 3)), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(positive.numpy(), (exact > 0).sum((2, 3)))
    assert reduce(maps, False)[2] is None
