"""Two processes, one of which has nothing to learn from: no gradient may be missing."""

import os

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import distributed

from semiconv_d2 import EmbeddingHead, LearnedKernel

COUNTS = ((3, 0), (0, 0))  # instances in the image of each process, at each step


@pytest.mark.skipif(not distributed.is_gloo_available(), reason="PyTorch without gloo")
@pytest.mark.parametrize("architecture", ["GeneralizedRCNN", "InstanceColoring"])
def test_processes_with_and_without_instances_stay_together(
    make_cfg, make_batch, tmp_path, architecture
):
    batches = [[make_batch(count) for count in counts] for counts in COUNTS]
    cfg = make_cfg(
        "MODEL.META_ARCHITECTURE", architecture, "MODEL.DEVICE", "cpu",
        "MODEL.SEMICONV.GRADIENT_SCALE", 1.0,
    )  # fmt: skip
    torch.multiprocessing.spawn(_train, (cfg, batches, str(tmp_path)), nprocs=2)
    weights = [torch.load(tmp_path / f"{rank}.pth") for rank in range(2)]
    assert torch.isfinite(weights[0]).all()
    assert torch.equal(*weights)


def _train(rank: int, cfg, batches, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{os.path.join(folder, 'store')}", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(build_model(cfg))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with EventStorage():
        for counts in batches:
            optimizer.zero_grad()
            sum(model(counts[rank]).values()).backward()
            optimizer.step()
    chosen = [
        p
        for module in model.modules()
        if isinstance(module, (EmbeddingHead, LearnedKernel))
        for p in module.parameters()
    ]
    torch.save(torch.cat([p.detach().flatten() for p in chosen]), f"{folder}/{rank}.pth")
    distributed.destroy_process_group()
