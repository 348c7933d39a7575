from experiments.benchmarks.evaluation import draw_scene, format_times, time_evaluation
from semiconv_d2.evaluation.measures import MEASURES


def test_times_of_both_libraries_and_of_every_measure():
    truth, results = draw_scene(4)
    assert truth.anns
    assert results
    times = time_evaluation(truth, results, repeats=2)
    assert times["measures"].keys() == MEASURES.keys()
    for library in times["libraries"].values():
        assert library["difference"] < 1e-6
        assert library["ratio"] > 0
    table = format_times(times)
    assert "4 images" in table
    assert "faster-coco-eval" in table


def test_the_same_seed_draws_the_same_scene():
    first, again, other = (draw_scene(3, seed) for seed in (0, 0, 1))
    assert first[1] == again[1] != other[1]
    assert first[0].dataset == again[0].dataset
