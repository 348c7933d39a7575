"""The formats of exported models: how a network becomes a file, and how the file is run."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...errors import ConfigError
from ...training.messages import hush_pytorch
from .networks import Network

INPUT = "image"
"""Name of the input."""

OPSET = 17
"""Version of ONNX's operations. From 16 on, ROIAlign has the half pixel that Detectron2's aligned
ROIAlign shifts by. Older versions leave it out, and find other instances."""

Arrays = tuple[np.ndarray, ...]


class Format(NamedTuple):
    """A format of files."""

    packages: tuple[str, ...]
    """What it needs beside PyTorch."""
    write: Callable[[Network, Tensor], bytes]
    """The content of a file, for a network and an image to trace it with."""
    load: Callable[[bytes], Callable[[np.ndarray], Arrays]]
    """The content of a file as a function from an image to the outputs."""


def _write_torchscript(network: Network, image: Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, (image,), check_trace=False), buffer)
    return buffer.getvalue()


def _load_torchscript(content: bytes) -> Callable[[np.ndarray], Arrays]:
    traced = torch.jit.load(io.BytesIO(content), map_location="cpu")
    return lambda image: tuple(x.numpy() for x in traced(torch.from_numpy(image)))


def _write_onnx(network: Network, image: Tensor) -> bytes:
    axes = {output.name: output.axes for output in network.outputs}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        # The exporter on top of torch.export cannot be used: it fails where Detectron2 pads images.
        torch.onnx.export(
            network,
            (image,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(axes),
            dynamic_axes={INPUT: {1: "height", 2: "width"}, **axes},
        )
        return path.read_bytes()


def _load_onnx(content: bytes) -> Callable[[np.ndarray], Arrays]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda image: tuple(session.run(None, {INPUT: image}))


FORMATS = {
    "torchscript": Format((), _write_torchscript, _load_torchscript),
    "onnx": Format(("onnx", "onnxruntime"), _write_onnx, _load_onnx),
}


def check_packages(form: str) -> None:
    """Raises `ConfigError` if a package is missing that a format needs."""
    missing = [name for name in FORMATS[form].packages if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"--format {form} needs {' and '.join(missing)}: pip install {' '.join(missing)}, or "
            f"the plugin with its extra [{form}]."
        )


def write_network(network: Network, form: str, image: Tensor) -> bytes:
    """The content of a file with a network.

    Args:
        form: one of `FORMATS`.
        image: (3, H, W) as the network takes it. The operations on it are recorded; images of all
            other sizes fit too.
    """
    hush_pytorch()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about Detectron2's assertions
        return FORMATS[form].write(network, image)


def load_network(content: bytes, form: str) -> Callable[[np.ndarray], Arrays]:
    """The content of a file as a function on the CPU, from an image (3, H, W) float32 to the
    outputs."""
    return FORMATS[form].load(content)
