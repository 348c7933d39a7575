import logging
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

import semiconv_d2
from semiconv_d2.errors import ConfigError, DatasetError
from semiconv_d2.training import (
    EVALUATION,
    TRAINING,
    Start,
    load_checked_config,
    load_config,
    register_own_data,
)
from semiconv_d2.training.checks import (
    check_architecture,
    check_batch,
    check_datasets,
    check_mask_options,
    check_schedule,
    check_weights,
)

STOCK_HEADS = ["MODEL.ROI_HEADS.NAME", "StandardROIHeads"]
CONFIGS = Path(semiconv_d2.get_config_file("voc_semiconv")).parent
VOC = semiconv_d2.get_config_file("voc_semiconv")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("MODEL.SEMICONV.SIGMA", r"SIGMA is not a key\. The keys are: RESCORE, .*SIGMA_INIT"),
        ("MODEL.SEMICONV.SEED_ROUNDS", r"SEED_ROUNDS was removed in version 0\.2.*leave it out"),
        ("MODEL.SIGMA", r"Non-existent (config )?key: MODEL\.SIGMA"),
    ],
)
def test_unknown_keys_are_explained(key, message, tmp_path):
    *parents, last = key.split(".")
    (tmp_path / "own.yaml").write_text(
        "".join(f"{'  ' * i}{name}:\n" for i, name in enumerate(parents))
        + f"{'  ' * len(parents)}{last}: 2\n"
    )
    with pytest.raises(
        ConfigError, match=message.replace("Non-existent key", "Non-existent (config )?key")
    ):
        load_config(str(tmp_path / "own.yaml"))
    with pytest.raises(ConfigError, match=message):
        load_config("", [key, "2"])


def test_config_is_frozen_and_has_the_plugin_s_keys():
    cfg = load_config(VOC, ["MODEL.SEMICONV.EMBEDDING_DIM", "4"])
    assert cfg.is_frozen()
    assert cfg.MODEL.SEMICONV.EMBEDDING_DIM == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["MODEL.SEMICONV.SIGMA", "3"], "SIGMA"),
        (["MODEL.SEMICONV.SIGMA_INIT", "wide"], "SIGMA_INIT"),
        (["MODEL.SEMICONV.SIGMA_INIT"], "list"),
    ],
)
def test_wrong_overrides_are_named(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(VOC, overrides)


def test_lazy_configs_are_sent_to_detectron2_s_tool():
    config = Path(VOC).parent / "lazy" / "voc_semiconv.py"
    with pytest.raises(ConfigError, match=r"is a LazyConfig.*lazyconfig_train_net\.py"):
        load_config(str(config))


def test_missing_config_file():
    with pytest.raises(ConfigError, match=r"no config file nowhere\.yaml"):
        load_config("nowhere.yaml")


def test_unknown_key_in_a_file_is_named_with_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("MODEL:\n  SEMICONV:\n    SIGMAA: 3.0\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml.*SIGMAA"):
        load_config(str(path))


@without_cuda
def test_without_cuda_or_bfloat16_runs_on_the_cpu_and_ignores_amp(caplog, monkeypatch):
    monkeypatch.setattr("semiconv_d2.training.configs.has_mixed_precision", lambda device: False)
    with caplog.at_level(logging.WARNING):
        cfg = load_config(VOC, ["SOLVER.AMP.ENABLED", "True"])
    assert cfg.MODEL.DEVICE == "cpu"
    assert not cfg.SOLVER.AMP.ENABLED
    assert "SOLVER.AMP.ENABLED is ignored: it needs CUDA" in caplog.text


def test_missing_weights_are_found_before_any_work(tmp_path):
    cfg = load_config(VOC, ["MODEL.WEIGHTS", "gone.pth", "OUTPUT_DIR", str(tmp_path)])
    with pytest.raises(ConfigError, match=r"gone\.pth, and there is no file /.*mask_rcnn"):
        check_weights(cfg, TRAINING)
    with pytest.raises(ConfigError):
        check_weights(cfg, Start(resume=True))  # nothing to resume from
    with zipfile.ZipFile(tmp_path / "model_0000001.pth", "w"):  # all that is looked at here
        pass
    check_weights(cfg, Start(resume=True))


def test_shipped_weights_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = Path(load_config("own_small_semiconv").MODEL.WEIGHTS)
    assert weights.is_file()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / weights.name).touch()  # somebody's own
    own = load_config("own_small_semiconv").MODEL.WEIGHTS
    assert own == f"checkpoints/{weights.name}"


def test_weights_that_only_the_repository_has_are_named_as_such():
    cfg = load_config("own_small_semiconv", ["MODEL.WEIGHTS", "checkpoints/none.pth"])
    with pytest.raises(ConfigError, match=r"checkpoints/none\.pth, a file of the repository"):
        check_weights(cfg, TRAINING)
    check_weights(load_config("own_small_semiconv", ["MODEL.WEIGHTS", ""]), TRAINING)


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ([], True),
        (["MODEL.BACKBONE.FREEZE_AT", "0"], False),
        (["MODEL.BACKBONE.NAME", "build_timm_fpn_backbone"], True),
        (["MODEL.BACKBONE.NAME", "build_timm_fpn_backbone", "MODEL.TIMM.WEIGHTS", "x.pth"], False),
        (["MODEL.BACKBONE.NAME", "somebody_s_own"], False),
    ],
)
def test_random_layers_are_not_frozen(keys, refused):
    cfg = load_config(VOC, ["MODEL.WEIGHTS", "", *keys])
    if refused:
        with pytest.raises(ConfigError, match=r"would stay random.*FREEZE_AT 0"):
            check_weights(cfg, TRAINING)
    else:
        check_weights(cfg, TRAINING)


def test_the_key_of_an_unknown_threshold_dataset_is_named(datasets_folder):
    worms = datasets_folder / "synthetic_worms"
    keys = ["OWN_DATA.TRAIN_JSON", str(worms / "train.json"), "DATASETS.TEST", "()"]
    keys += ["OWN_DATA.TRAIN_IMAGES", str(worms / "images"), "EVALUATION.THRESHOLD_DATASET", "no"]
    cfg = load_config("demo_semiconv", keys)
    register_own_data(cfg)
    with pytest.raises(ConfigError, match=r"EVALUATION\.THRESHOLD_DATASET: The dataset no is not"):
        check_datasets(cfg, TRAINING)


def test_a_step_at_the_end_of_the_training_is_refused():
    cfg = load_config(VOC, ["SOLVER.MAX_ITER", "100", "SOLVER.STEPS", "(50, 100)"])
    with pytest.raises(ConfigError, match=r"SOLVER\.STEPS is \(50, 100\).*MAX_ITER 100: leave"):
        check_schedule(cfg, TRAINING)
    check_schedule(cfg, EVALUATION)


@pytest.mark.parametrize(("steps", "refused"), [((1000,), True), ((1001,), False), ((), False)])
def test_a_learning_rate_that_never_rises_is_refused(steps, refused):
    keys = ["SOLVER.MAX_ITER", "2000", "SOLVER.STEPS", str(steps), "SOLVER.WARMUP_ITERS", "1000"]
    cfg = load_config(VOC, keys)
    check_schedule(cfg, EVALUATION)
    if refused:
        with pytest.raises(
            ConfigError, match=r"STEPS is \(1000,\).*WARMUP_ITERS 1000.*ITERS 100\."
        ):
            check_schedule(cfg, TRAINING)
    else:
        check_schedule(cfg, TRAINING)
    cosine = load_config(VOC, [*keys, "SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR"])
    check_schedule(cosine, TRAINING)  # which has no steps


def test_a_training_shorter_than_its_warm_up_is_warned_of(caplog):
    check_schedule(load_config(VOC, ["SOLVER.MAX_ITER", "500"]), TRAINING)
    assert "WARMUP_ITERS is 1000, and the training ends at SOLVER.MAX_ITER 500" in caplog.text


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_learning_rate_of_every_config_rises(path, caplog):
    check_schedule(load_config(str(path)), TRAINING)
    assert "WARMUP_ITERS" not in caplog.text


RUNS_CODE = "X: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{}]]"


def test_a_config_runs_no_code(tmp_path):
    touched = tmp_path / "touched"
    (tmp_path / "config.yaml").write_text(RUNS_CODE.format(touched))
    with pytest.raises(ConfigError, match=r"config\.yaml.*python/object/apply"):
        load_config(str(tmp_path / "config.yaml"))
    assert not touched.exists()


@pytest.mark.parametrize("weights", ["x.pkl", "https://example.org/detectron2/x.pkl?a=b"])
def test_a_pickle_is_loaded_where_that_is_asked_for(tmp_path, weights):
    (tmp_path / "x.pkl").touch()
    cfg = load_config(VOC, ["MODEL.WEIGHTS", weights.replace("x.pkl", f"{tmp_path}/x.pkl", 1)])
    for start in (TRAINING, EVALUATION):
        with pytest.raises(ConfigError, match=r"loading a pickle runs any code.*add --run-code"):
            check_weights(cfg, start)
    check_weights(cfg, TRAINING._replace(run_code=True))


@pytest.mark.parametrize("weights", ["", "detectron2://ImageNetPretrained/MSRA/R-50.pkl"])
def test_other_weights_are_left_to_the_checkpointer(weights):
    cfg = load_config(VOC, ["MODEL.WEIGHTS", weights, "MODEL.BACKBONE.FREEZE_AT", "0"])
    check_weights(cfg, TRAINING)


def test_evaluation_of_another_kind_is_refused(tmp_path):
    name = "semiconv_test_other"
    DatasetCatalog.register(name, list)
    MetadataCatalog.get(name).set(evaluator_type="lvis")
    try:
        cfg = load_config(VOC, ["DATASETS.TRAIN", "()", "DATASETS.TEST", (name,)])
        with pytest.raises(ConfigError, match="semiconv_test_other is evaluated as 'lvis'"):
            check_datasets(cfg, EVALUATION)
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_unknown_datasets_are_named_with_those_that_there_are():
    cfg = load_config(VOC, ["DATASETS.TEST", ("voc_val",)])
    with pytest.raises((ConfigError, DatasetError), match=r"voc_val|voc_2012"):
        check_datasets(cfg, TRAINING)
    cfg = load_config(VOC, ["DATASETS.TRAIN", ("voc_val",)])
    with pytest.raises(ConfigError, match=r"voc_val is not registered.*voc_2012_instance_train"):
        check_datasets(cfg, TRAINING)


@pytest.mark.parametrize(
    ("text", "message"),
    [("MODEL: [unclosed", "mine.yaml"), ("_BASE_: gone.yaml", "gone.yaml"), ("- a", "mine.yaml")],
)
def test_broken_config_files_are_named(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(str(path))


@pytest.mark.parametrize("supported", [False, True])
def test_amp_on_a_cpu_needs_bfloat16(monkeypatch, supported):
    monkeypatch.setattr(
        "semiconv_d2.training.configs.has_mixed_precision", lambda device: supported
    )
    overrides = ["MODEL.DEVICE", "cpu", "SOLVER.AMP.ENABLED", "True"]
    assert load_config(VOC, overrides).SOLVER.AMP.ENABLED is supported


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("TEST.AUG.ENABLED", "True"), "InstanceColoring has no boxes"),
        (("MODEL.COLORING.DECODER", "kmeans"), "needs the number of instances"),
    ],
)
def test_what_instance_coloring_cannot_do_is_refused_before_training(overrides, message):
    config = semiconv_d2.get_config_file("demo_coloring")
    with pytest.raises(ConfigError, match=message):
        load_checked_config(config, overrides)


@pytest.mark.parametrize(("key", "value"), [("MASK_SCORE", "True"), ("EXCLUSIVE_MASKS", "True")])
def test_options_of_masks_are_refused_with_roi_heads_that_do_not_know_them(key, value):
    keys = [f"MODEL.SEMICONV.{key}", value]
    check_mask_options(load_config(VOC, keys), TRAINING)
    cfg = load_config(VOC, [*STOCK_HEADS, *keys])
    with pytest.raises(ConfigError, match=f"{key} is {value}, but StandardROIHeads"):
        check_mask_options(cfg, TRAINING)
    check_mask_options(load_config(VOC, STOCK_HEADS), TRAINING)


def test_options_of_masks_that_augmentation_ignores_are_told(caplog):
    keys = ["MODEL.SEMICONV.MASK_SCORE", "True", "TEST.AUG.ENABLED"]
    with caplog.at_level(logging.WARNING):
        check_architecture(load_config(VOC, [*keys, "False"]), TRAINING)
        assert "ignores" not in caplog.text
        check_architecture(load_config(VOC, [*keys, "True"]), TRAINING)
    assert "Test-time augmentation ignores MODEL.SEMICONV.MASK_SCORE." in caplog.text
    assert "EXCLUSIVE_MASKS" not in caplog.text


def test_images_of_a_step_can_be_shared_out():
    def config(*overrides):
        return load_config(VOC, [str(word) for word in overrides])

    check_batch(config("SOLVER.IMS_PER_BATCH", 4), Start(processes=2))
    with pytest.raises(ConfigError, match=r"IMS_PER_BATCH is 4.* multiple of the number .* 3"):
        check_batch(config("SOLVER.IMS_PER_BATCH", 4), Start(processes=3))
    # Detectron2 makes 6 of these.
    scaled = ("SOLVER.IMS_PER_BATCH", 2, "SOLVER.REFERENCE_WORLD_SIZE", 1)
    check_batch(config(*scaled), Start(processes=3))


@pytest.mark.parametrize("hushed", [True, False])
def test_tools_leave_out_what_pytorch_says_of_detectron2(hushed):
    code = """
        import logging, numpy, torch
        from semiconv_d2.training.messages import hush_pytorch
        {}
        torch.meshgrid(torch.arange(2), torch.arange(2))
        mask = numpy.zeros(2)
        mask.flags.writeable = False
        torch.from_numpy(mask)
        logging.getLogger("torch.fx._symbolic_trace").warning("is_fx_tracing will return true")
    """
    lines = (line.strip() for line in code.format("hush_pytorch()" if hushed else "").split("\n"))
    said = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    ).stderr
    for text in ("meshgrid", "not writable", "is_fx_tracing"):
        assert (text in said) != hushed
