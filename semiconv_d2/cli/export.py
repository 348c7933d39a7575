"""Write a trained model as TorchScript or ONNX, for programs without Detectron2.

    semiconv export output/bbbc010_semiconv --format onnx --output model.onnx --images well.png
    semiconv export configs/own_semiconv.yaml --weights model.pth --format torchscript \\
        --output model.ts

Before it writes the file, the command runs it and PyTorch on the images, on a part of the first
one, and on a black image. It says how much they differ, and writes nothing if that is too much.
Beside the file, model.onnx.json has names, shapes and meaning of what the exported model takes and
returns.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..data.files import check_file, check_kept
from ..errors import ConfigError
from ..inference.options import SHIPPED
from .commands import finish, parser_of, say

FORMATS = ("torchscript", "onnx")
_ENDINGS = {".onnx": "onnx", ".ts": "torchscript", ".pt": "torchscript", ".pth": "checkpoint"}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return finish(lambda: export(arguments))


def parse_arguments(argv):
    parser = parser_of("export", __doc__)
    parser.add_argument(
        "model",
        help="folder of a run, checkpoint with its config.yaml beside it, config (YAML or "
        f"LazyConfig), or shipped model ({', '.join(SHIPPED)})",
    )
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--weights", help="checkpoint to use instead of the model's own")
    parser.add_argument(
        "--images",
        nargs="+",
        help="images to compare with, best such as the model is for (default: drawn worms)",
    )
    parser.add_argument(
        "--classes", nargs="+", help="names of the classes, instead of the model's own"
    )
    parser.add_argument(
        "--run-code",
        action="store_true",
        help="also load LazyConfigs and pickles, which can run any code; only if you trust them",
    )
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE … (LazyConfig: key=value)"
    )
    return parser.parse_args(argv)


def export(arguments):
    from ..inference.export.exporting import description_path, export_model
    from ..inference.export.formats import check_packages
    from ..inference.loading import load_model
    from ..training.messages import show_messages

    show_messages()
    path = arguments.output
    description = description_path(path)
    for file in (path, description):
        check_file(file, "--output")
    kind = _ENDINGS.get(path.suffix.lower(), arguments.format)
    if kind != arguments.format:
        raise ConfigError(
            f"--output {path} has the ending of another format, {kind}: use one such as "
            f"{next(e for e, form in _ENDINGS.items() if form == arguments.format)}."
        )
    read = (arguments.model, arguments.weights, *(arguments.images or ()))
    check_kept([("--output", path)], [Path(name) for name in read if name])
    check_packages(arguments.format)
    loaded = load_model(
        arguments.model,
        weights=arguments.weights,
        device="cpu",
        classes=arguments.classes,
        overrides=arguments.opts,
        run_code=arguments.run_code,
    )
    images = arguments.images or [drawn_image()]
    lines = export_model(loaded, arguments.format, path, images)
    say("Largest differences from PyTorch:")
    for line in lines:
        say(f"  {line}")
    say(f"Model: {path}\nWhat it takes and returns: {description}")


def drawn_image():
    """An image with instances, for models that know none better: (H, W) uint8."""
    import numpy as np

    from ..data.datasets.synthetic_worms import WormSettings, draw_worms

    image, _ = draw_worms(WormSettings(), np.random.default_rng(0))
    return image
