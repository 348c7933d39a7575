"""Masks in image files: one image of labels for an image, or one file for each instance.

Files belong to an image by their names. The stem of a file is its name without the extension; the
key of an image is its stem.

- Labels: `<key>.png`, `<key>.tif` and so on, or `<key><suffix>.png` for a suffix that all of them
  share. Every value but the background is an instance.
- Masks: all image files in the folder `<key>/`, or `<key>_1.png`, `<key>-cell 2.tif` and so on:
  the key and a separator that is neither letter nor digit. Masks may overlap.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import numpy as np

from ...errors import DatasetError
from ..files import describe_folder, refuse_all
from ..image_headers import refuse_large
from ..images import is_image, open_image
from ..names import is_hidden

_LARGEST = 2**53
_LOSSY = (".jpg", ".jpeg", ".webp")


def find_images(folder: Path, without_suffix: str = "") -> dict[str, Path]:
    """Image files of a folder by their stems, sorted; subfolders are not looked into.

    Args:
        without_suffix: leave out files whose stem ends with it: they are the labels beside the
            images. By default no file is left out.

    Raises:
        DatasetError: there is no such folder, no image in it, or two images of the same stem.
    """
    images = [
        path
        for path in image_files(folder)
        if not without_suffix or not path.stem.endswith(without_suffix)
    ]
    if not images:
        raise DatasetError(f"{folder} has no images; found: {describe_folder(folder)}")
    return _by_key((path.stem, path) for path in images)


def find_labels(
    folder: Path, keys: Iterable[str], suffix: str = "", strays: list[str] | None = None
) -> dict[str, Path]:
    """File of the labels of each image, in the order of the keys.

    Args:
        folder: may be the folder of the images, if there is a suffix.
        keys: stems of the images. Keys without a file are missing in the result.
        suffix: ending of the stem of a file, after the key, such as "_cp_masks". Files without it
            are skipped.
        strays: gets a message about each file that belongs to no image; by default such a file is
            an error.

    Raises:
        DatasetError: there is no such folder, a file belongs to no image, or two belong to one.
    """
    files = [path for path in image_files(folder) if path.stem.endswith(suffix)]
    labels = _by_key((path.stem.removesuffix(suffix), path) for path in files)
    found = {key: labels[key] for key in dict.fromkeys(keys) if key in labels}
    ending = "" if found else find_suffix(labels.values(), set(keys))
    hint = f"; or add --label-suffix {ending}" if ending else ""
    told = [
        f"labels without an image: {path}; name them after the images, or remove them{hint}"
        for key, path in labels.items()
        if key not in found
    ]
    _tell_strays(told, strays if found else None)
    return found


def find_masks(
    folder: Path, keys: Iterable[str], strays: list[str] | None = None
) -> dict[str, list[Path]]:
    """Files of the masks of each image, sorted, in the order of the keys.

    If the names of several images fit, the longest one counts: `a_b_1.png` belongs to `a_b` and not
    to `a`.

    Args:
        keys: stems of the images. Keys without files are missing in the result; a key with an empty
            folder has no masks.
        strays: gets a message about each file that belongs to no image; by default such a file is
            an error.

    Raises:
        DatasetError: there is no such folder, a file or folder belongs to no image, or a file has
            the name of the image itself.
    """
    keys = dict.fromkeys(keys)
    found: dict[str, list[Path]] = {}
    told: list[str] = []

    def tell(path: Path) -> None:
        told.append(
            f"masks without an image: {path}; begin their names with that of the image, as in "
            f"IMAGE_1.png, or remove them"
        )

    for path in image_files(folder):
        key = _longest_key(path.stem, keys)
        if path.stem in keys:
            told.append(
                f"{path} has the name of its image, so it could be the mask of all instances: if "
                f"it is the mask of one instance, rename it to {path.stem}_1{path.suffix}"
            )
        elif key is None:
            tell(path)
        else:
            found.setdefault(key, []).append(path)
    for path in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        if path.name in keys:
            found.setdefault(path.name, []).extend(image_files(path))
        elif not is_hidden(path):
            tell(path)
    _tell_strays(told, strays if found else None)
    return {key: found[key] for key in keys if key in found}


def find_suffix(files: Iterable[Path], keys: Container[str]) -> str:
    """The ending that the stems of at least half of some files have after the names of their
    images, such as "_cp_masks"; "" if there is none, or if it is a number."""
    stems = [path.stem for path in files if path.stem not in keys]
    rests = Counter(
        stem[len(key) :] for stem in stems if (key := _longest_key(stem, keys)) is not None
    )
    [(rest, number)] = rests.most_common(1) or [("", 0)]
    return rest if 2 * number >= len(stems) and not rest[1:].isdigit() else ""


def image_files(folder: Path) -> list[Path]:
    """Image files of a folder, sorted; raises `DatasetError` if there is no such folder."""
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; found: {describe_folder(folder)}")
    return sorted(path for path in folder.iterdir() if is_image(path) and not path.is_dir())


def _by_key(files: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for key, path in files:
        if found.setdefault(key, path) != path:
            raise DatasetError(
                f"{found[key]} and {path} have the same name except for the extension: rename or "
                f"remove one"
            )
    return found


def _longest_key(stem: str, keys: Container[str]) -> str | None:
    ends = (end for end in range(len(stem) - 1, 0, -1) if not stem[end].isalnum())
    return next((stem[:end] for end in ends if stem[:end] in keys), None)


def _tell_strays(told: list[str], strays: list[str] | None) -> None:
    if strays is None:
        refuse_all(told)
    else:
        strays += told


def read_labels(path: Path) -> np.ndarray:
    """Labels of an image, (H, W) int32, or int64 if they need it.

    The pixels of the file are integers of 8 to 64 bits, or floating-point numbers that are whole,
    as Fiji writes them.

    Raises:
        DatasetError: the file is missing or damaged, has colours, fractions, several pages, or a
            format that changes values.
    """
    _refuse_lossy(path, "labels")
    refuse_large(path)
    mode, pixels = _read_pixels(path)
    if pixels.ndim != 2 or mode == "1":
        raise DatasetError(
            f"{path} is an image of mode {mode}, expected one number in each pixel: export the "
            f"labels as a single-channel PNG or TIFF, without colours"
        )
    if pixels.dtype.kind == "f":
        whole = np.isfinite(pixels) & (pixels == np.round(pixels)) & (np.abs(pixels) < _LARGEST)
        if not whole.all():
            raise DatasetError(
                f"{path} has the value {pixels[~whole][0]:g}, which is not a label: export whole "
                f"numbers"
            )
    if pixels.dtype == np.uint64 and (pixels > _LARGEST).any():
        raise DatasetError(f"{path} has the label {pixels.max()}, which is too large")
    labels = pixels.astype(np.int64)
    small = np.iinfo(np.int32)
    fits = labels.min(initial=0) >= small.min and labels.max(initial=0) <= small.max
    return labels.astype(np.int32) if fits else labels


def _read_pixels(path: Path) -> tuple[str, np.ndarray]:
    """The mode of an image file and its pixels. Pillow cannot read TIFF of 64 bits, and reads
    unsigned TIFF of 32 bits as signed."""
    if path.suffix.lower() in (".tif", ".tiff") and (kind := _tiff_kind(path)) is not None:
        import tifffile

        with contextlib.suppress(Exception):  # Pillow says what is wrong
            return kind, tifffile.imread(path)
    return open_image(path, lambda image: (image.mode, np.asarray(image)))


def _tiff_kind(path: Path) -> str | None:
    """NumPy's name of the type of pixels in a TIFF of one page and channel that Pillow reads
    wrongly; None for other files, and without the package tifffile."""
    try:
        import tifffile
    except ImportError:
        return None
    try:
        with tifffile.TiffFile(path) as file:
            if len(file.pages) != 1:
                return None
            page = file.pages[0]
            large = page.dtype is not None and (page.dtype.itemsize == 8 or page.dtype == np.uint32)
            return str(page.dtype) if large and len(page.shape) == 2 else None
    except Exception:  # Pillow says what is wrong
        return None


def refuse_binary(
    path: Path, labels: np.ndarray, background: int = 0, void: int | None = None, mend: str = ""
) -> None:
    """Refuse a label image that is one mask of all instances together.

    Args:
        path: of the image.
        labels, background, void: see `split_labels`.
        mend: end of the message: what would help besides numbering the instances.

    Raises:
        DatasetError: its one label is 255 or 65535.
    """
    highest = int(labels.max(initial=0))
    if highest not in (255, 65535) or highest in (background, void):
        return
    if np.isin(labels, [n for n in (highest, background, void) if n is not None]).all():
        raise DatasetError(
            f"{path} has only the label {highest}, like one mask of all instances together: number "
            f"the instances{mend}"
        )


def split_labels(
    labels: np.ndarray, background: int = 0, void: int | None = None
) -> Iterator[np.ndarray]:
    """Masks (H, W) bool of the instances, in the order of their values.

    Args:
        labels: (H, W) int. Each value is an instance, which may have several pieces.
        background: the value of pixels without an instance.
        void: another value that is no instance, for pixels that nobody can assign.
    """
    flat = labels.ravel()
    taken = flat != background
    if void is not None:
        taken &= flat != void
    where = np.flatnonzero(taken)
    where = where[np.argsort(flat[where], kind="stable")]
    begins = np.flatnonzero(np.diff(flat[where])) + 1
    for pixels in np.split(where, begins):
        if len(pixels):
            mask = np.zeros(labels.shape, dtype=bool)
            mask.ravel()[pixels] = True
            yield mask


def read_mask(path: Path) -> np.ndarray:
    """Mask of one instance, (H, W) bool: 0 is outside, the file's only other value inside.

    Colour images are read if they are grey and opaque. A mask may be empty.

    Raises:
        DatasetError: the file is missing or damaged, has several pages, has more values than two
            or no 0, or a format that changes values.
    """
    _refuse_lossy(path, "a mask")
    refuse_large(path)
    mode, pixels = open_image(path, lambda image: (image.mode, np.asarray(image)))
    if pixels.ndim == 3:
        colours = pixels[..., :-1] if mode in ("LA", "RGBA") else pixels
        opaque = colours is pixels or bool((pixels[..., -1] == 255).all())
        if not opaque or mode not in ("LA", "RGB", "RGBA") or np.ptp(colours, axis=2).any():
            raise DatasetError(
                f"{path} is an image of mode {mode} with colours or transparency: export the mask "
                f"as a single-channel PNG or TIFF with 0 outside and 255 inside"
            )
        pixels = colours[..., 0]
    values = np.unique(pixels)
    if not np.isfinite(values).all() or len(values) > 2 or (len(values) == 2 and values[0] != 0):
        listed = ", ".join(str(value) for value in values[:4].tolist())
        raise DatasetError(
            f"{path} has the values {listed}{', ...' if len(values) > 4 else ''}; the mask of one "
            f"instance has 0 outside and one other value inside. If the file has a value for each "
            f"instance, it is read as labels"
        )
    return pixels != 0


def _refuse_lossy(path: Path, what: str) -> None:
    if path.suffix.lower() in _LOSSY:
        raise DatasetError(
            f"{path} cannot be {what}, because {path.suffix} files change the values of pixels: "
            f"export a PNG or TIFF"
        )
