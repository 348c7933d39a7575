import pytest
import torch

from semiconv_d2 import ops


def test_expected_iou_against_loops():
    p = torch.rand(5, 6, 7, dtype=torch.float64)
    p[4] *= 0.4  # an empty mask
    for r, expected in enumerate(ops.expected_iou(p).tolist()):
        intersection = union = 0.0
        for value in p[r].flatten().tolist():
            inside = value >= 0.5
            intersection += value if inside else 0
            union += 1 if inside else value
        assert expected == pytest.approx(intersection / max(union, 1))


def test_sure_masks_have_an_expected_iou_of_1_and_no_others():
    sure = (torch.rand(1, 9, 9) > 0.5).float()
    assert ops.expected_iou(sure).item() == 1
    assert ops.expected_iou(sure * 0.8).item() == pytest.approx(0.8)
    assert ops.expected_iou(sure + (1 - sure) * 0.2) < 1
    assert ops.expected_iou(torch.zeros(2, 9, 9)).tolist() == [0, 0]
    assert ops.expected_iou(torch.zeros(0, 9, 9)).shape == (0,)


def test_half_precision_is_summed_in_full():
    p = torch.full((1, 112, 112), 0.75)
    assert ops.expected_iou(p.half()).item() == pytest.approx(0.75)


def test_it_is_calibrated_on_what_it_says():
    """Instances drawn from the probabilities: the mean IoU is close to what is expected."""
    torch.manual_seed(0)
    p = torch.rand(20, 20)
    drawn = torch.rand(500, 20, 20) < p
    mask = p >= 0.5
    iou = (drawn & mask).sum(dim=(1, 2)) / (drawn | mask).sum(dim=(1, 2))
    assert ops.expected_iou(p[None]).item() == pytest.approx(iou.mean().item(), abs=0.01)
