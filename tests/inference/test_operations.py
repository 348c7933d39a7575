"""What is counted, and what is not."""

import pytest
import torch

from semiconv_d2.inference.measuring import busy_seconds, count_operations


def test_views_are_no_operations():
    x = torch.randn(3, 4)
    assert count_operations(lambda: x.T.reshape(3, 4)[0]) == 1  # the copy, once transposed
    assert count_operations(lambda: x[0].view(2, 2).unsqueeze(0)) == 0


def test_operations_in_place_and_backward_count():
    x = torch.randn(3)
    assert count_operations(lambda: x.mul_(2).add_(1)) == 2
    x.requires_grad_()
    forward = count_operations(lambda: x.square().sum())
    assert count_operations(lambda: x.square().sum().backward()) > forward == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_time_that_a_gpu_works():
    x = torch.randn(2048, 2048, device="cuda")
    once, often = (busy_seconds(lambda n=n: [x @ x for _ in range(n)]) for n in (1, 20))
    assert 0 < once < often
