"""Sums are right and do not depend on the order of their terms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from atlas.prepass import exactsum

FLOATS = st.floats(-1, 1, width=32)


@given(st.lists(FLOATS, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_any_order_and_grouping_gives_the_same_bits(values, random):
    def total(terms, cut):
        result = exactsum.zeros(bits=40)
        result.add_all(torch.tensor(terms[:cut]))
        result.add_all(torch.tensor(terms[cut:]))
        return result

    shuffled = random.sample(values, len(values))
    one, other = total(values, len(values) // 2), total(shuffled, random.randint(0, len(values)))
    assert torch.equal(one.total, other.total)
    assert math.isclose(one.value().item(), math.fsum(values), abs_tol=len(values) * 2.0**-40)


def test_rows_are_added_to_where_they_belong():
    result = exactsum.zeros(3, 2, bits=24)
    terms = torch.tensor([[1.0, 2.0], [0.25, -1.0], [4.0, 8.0]])
    result.add_rows(torch.tensor([2, 0, 2]), terms)
    assert result.value().tolist() == [[0.25, -1.0], [0.0, 0.0], [5.0, 10.0]]


def test_the_value_is_in_main_memory_wherever_the_sum_is():
    """Tables divide it by counts that lie there; a pretended GPU shows what a real one would do."""
    with FakeTensorMode():
        total = torch.zeros(3, dtype=torch.int64, device="cuda")
        assert exactsum.ExactSum(total, 40).value().device.type == "cpu"


@pytest.mark.parametrize(
    "terms", [[2.0**39], [2.0**38, 2.0**38], [-(2.0**39)], [1e30], [2.0**38], [math.inf]]
)
def test_a_sum_that_leaves_its_range_is_refused_and_stays_as_it_was(terms):
    result = exactsum.zeros(1, bits=24)
    result.add_all(torch.tensor([[2.0**37]]))
    before = result.total.clone()
    if abs(sum(terms)) < 2.0**38 * 1.5:
        result.add_all(torch.tensor(terms)[:, None] / 4)  # well within
        return
    with pytest.raises(exactsum.RangeError):
        result.add_all(torch.tensor(terms)[:, None])
    assert torch.equal(result.total, before)


def test_sums_of_many_processes_do_not_wrap():
    one = exactsum.zeros(2, bits=40)
    one.add_all(torch.tensor([[2.0**21, 0.0]]))
    both = one + exactsum.zeros(2, bits=40)
    assert torch.equal(both.total, one.total)
    with pytest.raises(exactsum.RangeError):
        one + one
