"""Draw images of worms that cross and touch; see the README beside this script."""

from semiconv_d2.data.command_line import ONE, RANGE, SIZE, run_drawing
from semiconv_d2.data.synthetic_worms import FOLDER, WormSettings, prepare_synthetic_worms

OPTIONS = {
    "size": (int, SIZE, "of an image, px"),
    "worms": (int, RANGE, "number in an image"),
    "width": (float, RANGE, "of a worm's body, px"),
    "length": (float, RANGE, "of a worm, px"),
    "crowding": (float, ONE, "probability to lie across or beside one"),
}


if __name__ == "__main__":
    run_drawing(__doc__, FOLDER, prepare_synthetic_worms, WormSettings, OPTIONS)
