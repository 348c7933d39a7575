"""The demo's model of `InstanceColoring`."""

import pytest
import torch
from detectron2.modeling import build_model

import semiconv_d2
from semiconv_d2 import InstanceColoring
from semiconv_d2.training import load_config


@pytest.fixture
def make_coloring():
    """The demo's model, the same weights at every call, with overrides."""

    def make(*overrides) -> InstanceColoring:
        config = semiconv_d2.get_config_file("demo_coloring")
        torch.manual_seed(1)
        return build_model(
            load_config(config, ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", *overrides])
        )

    return make
