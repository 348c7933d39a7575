"""`semiconv train` in a process of torchrun, with what may happen to one of several.

WATCHED: folder for the state of the model of each process in the end, RANK.pth.
KILLED_AT: iteration at which the second process ends itself by SIGKILL, the first time round.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from semiconv_d2.cli.train import main
from semiconv_d2.training import Trainer
from semiconv_d2.training.images.mapper import ImageMapper

RANK = int(os.environ["RANK"])


class Emptied(ImageMapper):
    """No image of the second process has instances."""

    def __call__(self, record):
        mapped = super().__call__(record)
        if RANK == 1 and "instances" in mapped:
            mapped["instances"] = mapped["instances"][:0]
        return mapped


def step(self):
    first_time = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if first_time and RANK == 1 and self.iter == int(os.environ.get("KILLED_AT", -1)):
        os.kill(os.getpid(), signal.SIGKILL)
    undisturbed_step(self)


def train(self):
    undisturbed_train(self)
    torch.save(self.model.module.state_dict(), Path(os.environ["WATCHED"], f"{RANK}.pth"))


if __name__ == "__main__":
    from semiconv_d2.training import trainer

    trainer.ImageMapper = Emptied
    undisturbed_step, undisturbed_train = Trainer.run_step, Trainer.train
    Trainer.run_step, Trainer.train = step, train
    sys.exit(main())
