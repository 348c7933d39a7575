"""Turns the redistributed Detectron2 wheel of `detectron2.txt` into a plain `detectron2` wheel.

The redistribution holds the Python code of Detectron2's main branch at commit a59f0563, but as a
distribution of another name and version, with a compiled extension for one PyTorch release, a
top-level package `tools`, and wrong requirements. This keeps the package `detectron2` without the
extension, and writes true metadata. Detectron2 works without its extension but for deformable
convolution, rotated boxes and the C++ COCO evaluation. Fixed time stamps make the result the same
file on every machine.

    python repack_detectron2.py SOURCE.whl OUTPUT_DIR
"""

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

VERSION = "0.6+main.a59f0563"
DIST_INFO = f"detectron2-{VERSION}.dist-info"
METADATA = f"""\
Metadata-Version: 2.1
Name: detectron2
Version: {VERSION}
Summary: Detectron2, main branch at commit a59f0563, without the compiled extension
Home-page: https://github.com/facebookresearch/detectron2
Author: FAIR
License: Apache-2.0
Requires-Python: >=3.7
Requires-Dist: Pillow>=7.1
Requires-Dist: matplotlib
Requires-Dist: pycocotools>=2.0.2
Requires-Dist: termcolor>=1.1
Requires-Dist: yacs>=0.1.8
Requires-Dist: tabulate
Requires-Dist: cloudpickle
Requires-Dist: tqdm>4.29.0
Requires-Dist: tensorboard
Requires-Dist: fvcore<0.1.6,>=0.1.5
Requires-Dist: iopath>=0.1.7
Requires-Dist: omegaconf<2.4,>=2.1
Requires-Dist: hydra-core>=1.1
Requires-Dist: packaging
"""
WHEEL = """\
Wheel-Version: 1.0
Generator: repack_detectron2.py
Root-Is-Purelib: true
Tag: py3-none-any
"""


def repack(source: Path, output_dir: Path) -> Path:
    """Writes `detectron2-<VERSION>-py3-none-any.whl` into `output_dir` and returns its path."""
    with zipfile.ZipFile(source) as wheel:
        files = {
            name: wheel.read(name)
            for name in wheel.namelist()
            if name.startswith("detectron2/") and not name.endswith((".so", "/"))
        }
        licence = next(name for name in wheel.namelist() if name.endswith(".dist-info/LICENSE"))
        files[f"{DIST_INFO}/LICENSE"] = wheel.read(licence)
    init = files["detectron2/__init__.py"]
    files["detectron2/__init__.py"] = init.replace(b'__version__ = "0.7.2"', b'__version__ = "0.6"')
    files[f"{DIST_INFO}/METADATA"] = METADATA.encode()
    files[f"{DIST_INFO}/WHEEL"] = WHEEL.encode()

    record = "".join(
        f"{name},{_digest(data)},{len(data)}\n" for name, data in sorted(files.items())
    )
    files[f"{DIST_INFO}/RECORD"] = f"{record}{DIST_INFO}/RECORD,,\n".encode()

    output = output_dir / f"detectron2-{VERSION}-py3-none-any.whl"
    # Stored, not deflated: the bytes must not depend on the machine's zlib.
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as wheel:
        for name, data in sorted(files.items()):
            wheel.writestr(_entry(name), data)
    return output


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=(2024, 4, 17, 0, 0, 0))
    entry.create_system = 3  # Unix, wherever this runs
    entry.external_attr = 0o644 << 16
    return entry


def _digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


if __name__ == "__main__":
    print(repack(Path(sys.argv[1]), Path(sys.argv[2])))
