import pytest
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer as build_stock_optimizer

import semiconv_d2
from semiconv_d2.engine import load_config


def options(optimizer, model) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter."""
    names = {id(p): name for name, p in model.named_parameters()}
    found = [(names[id(p)], g) for g in optimizer.param_groups for p in g["params"]]
    assert len(found) == len(dict(found)) == len(names)  # each once, none lost
    return {name: (g["lr"], g["weight_decay"]) for name, g in found}


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("factor", [1.0, 5.0])
def test_only_the_plugin_s_parameters_differ_from_the_stock_optimizer(factor, clip):
    config = semiconv_d2.get_config_file("demo_semiconv")
    cfg = load_config(
        config,
        ["MODEL.SEMICONV.LR_FACTOR", str(factor), "MODEL.SEMICONV.GAIN", "learned",
         "SOLVER.CLIP_GRADIENTS.ENABLED", str(clip)],
    )  # fmt: skip
    model = build_model(cfg)
    stock = options(build_stock_optimizer(cfg, model), model)
    ours = options(semiconv_d2.build_optimizer(cfg, model), model)
    assert any("embedding_head" in name for name in ours)
    for name, (lr, decay) in stock.items():
        if "embedding_head" in name:
            assert ours[name] == (lr * factor, decay)
        elif "seed_kernel" in name:
            assert ours[name] == (lr * factor, 0.0)
        else:
            assert ours[name] == (lr, decay)


def test_a_stock_model_gets_the_stock_optimizer():
    cfg = load_config(semiconv_d2.get_config_file("demo_mask_rcnn"))
    model = build_model(cfg)
    stock, ours = build_stock_optimizer(cfg, model), semiconv_d2.build_optimizer(cfg, model)
    assert options(ours, model) == options(stock, model)
    assert len(ours.param_groups) == len(stock.param_groups)
