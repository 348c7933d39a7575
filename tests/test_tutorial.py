"""The commands of README and of the tutorial on data of one's own, as they are printed."""

import json
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "tutorials" / "own_data.md").read_text(encoding="utf-8")
SMALL = (
    "MODEL.WEIGHTS", "", "SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()", "MODEL.RESNETS.DEPTH", "18",
    "MODEL.RESNETS.RES2_OUT_CHANNELS", "64", "MODEL.ROI_BOX_HEAD.FC_DIM", "64",
)  # fmt: skip


def commands_of(text: str) -> list[list[str]]:
    """Every `semiconv` command in the code blocks of a document, in words."""
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split()[1:] for line in lines if line.startswith("semiconv ")]


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}")[2].partition("\n## ")[0]


@pytest.fixture
def clone(datasets_folder, tmp_path) -> Path:
    """What the tutorial supposes: configs of a clone, images, and annotations of them."""
    worms = datasets_folder / "synthetic_worms"
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    shutil.copytree(worms / "images", tmp_path / "images")
    for folder in ("annotations", "new_images"):
        (tmp_path / folder).mkdir()
    for path in worms.glob("*.json"):
        shutil.copy(path, tmp_path / "annotations")
    for path in sorted((worms / "images").iterdir())[:2]:
        shutil.copy(path, tmp_path / "new_images")
    [config] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(config)
    return tmp_path


def test_data_of_ones_own_from_check_to_comparison(clone, run_tool, quick):
    printed = commands_of(section(README, "Train on your own data"))
    assert [words[0] for words in printed] == ["check", "train", "predict"]
    assert all(w in printed for w in commands_of(section(PAGE, "4. Train")))
    printed += commands_of(section(PAGE, "5. Predict"))
    printed += commands_of(section(PAGE, "Is it better than a stock Mask R-CNN?"))
    said = []
    for words in printed:
        keys = (*SMALL, *quick) if words[0] == "train" else ()
        status, out, err = run_tool("semiconv_d2/__main__.py", *words, *keys, cwd=clone)
        assert status == 0, (words, out[-1000:], err)
        said.append(out)
    assert "training starts with this dataset" in said[0]
    assert (clone / "output" / "mine" / "inference" / "evaluation.txt").is_file()
    assert len(list((clone / "pictures").iterdir())) >= 2
    assert len(list((clone / "labels").iterdir())) >= 2
    assert isinstance(json.loads((clone / "results.json").read_text()), list)
    assert "mask AP" in said[-1]


def test_one_file_is_split_as_the_tutorial_says(clone, run_tool):
    [words] = [w for w in commands_of(PAGE) if w[0] == "prepare"]
    status, _, err = run_tool("semiconv_d2/__main__.py", *words, cwd=clone)
    assert status == 0, err
    made = [clone / "annotations" / f"train_{part}.json" for part in ("fit", "holdout")]
    assert [path.is_file() for path in made] == [True, True]
