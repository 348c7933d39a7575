"""Draw images of identical dots in a regular grid; see the README beside this script."""

from semiconv_d2.data.command_line import ONE, RANGE, SIZE, run_drawing
from semiconv_d2.data.dots import BACKGROUNDS, FOLDER, DotSettings, prepare_dots

OPTIONS = {
    "rows": (int, RANGE, "number of rows of dots in an image"),
    "columns": (int, RANGE, "number of dots in a row"),
    "radius": (int, ONE, "of a dot, px"),
    "spacing": (int, ONE, "from a dot's centre to the next one's in its column, px"),
    "length": (int, ONE, "how far a dot and the spacing in its row are stretched, px"),
    "rings": (int, ONE, "rows and columns of dots around the grid that are no instances"),
    "margin": (int, ONE, "from the outermost dots to the border of the image, at least, px"),
    "offset": (int, ONE, "how far the grid is moved at random on each axis, at most, px"),
    "size": (int, SIZE, "of an image, px (default: what the largest grid needs)"),
    "background": (str, {"choices": BACKGROUNDS}, "what is behind the dots"),
    "noise": (float, ONE, "standard deviation of the background noise, grey levels"),
}


if __name__ == "__main__":
    run_drawing(__doc__, FOLDER, prepare_dots, DotSettings, OPTIONS)
