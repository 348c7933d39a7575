import numpy as np

from semiconv_d2.visualization.samples import draw_sample


def test_the_image_its_masks_a_legend_and_a_caption():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (80, 50, 3), dtype=np.uint8)
    masks = np.zeros((3, 80, 50), dtype=bool)
    masks[0, :10, :10] = masks[1, 20:30, 20:30] = masks[2, 40:50, 40:50] = True
    colours = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])

    picture = draw_sample(image, masks, colours, ["cat", "dog", "cat"], "a.png, 中")

    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[:80, :50], image)
    painted = picture[:80, -picture.shape[1] :][:, 54:104]
    np.testing.assert_array_equal(painted[~masks.any(axis=0)], image[~masks.any(axis=0)])
    assert (painted[masks[0]][:, 0] >= 153).all()
    legend = picture[:, 104:].reshape(-1, 3)
    for colour in colours:
        assert (legend == 255 * colour).all(axis=1).sum() == 100  # one square each
    assert (picture[80:] < 100).any()  # the caption


def test_squares_stand_below_the_name_of_their_instances():
    image = np.full((80, 50, 3), 255, dtype=np.uint8)
    masks = np.zeros((4, 80, 50), dtype=bool)
    colours = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]])
    picture = draw_sample(image, masks, colours, ["i", "wwwwwwww", "i", "wwwwwwww"], "")
    legend = picture[:, 104:]
    dark = (legend < 100).all(axis=2)
    letters, lefts = [], []
    for colour in colours:
        rows, columns = (legend == 255 * colour).all(axis=2).nonzero()
        assert rows.max() - rows.min() == columns.max() - columns.min() == 9
        name = dark[rows.min() - 16 : rows.min()].any(axis=0).nonzero()[0]
        letters.append("i" if np.ptp(name) < 8 else "w")
        lefts.append(columns.min())
    assert letters == ["i", "w", "i", "w"]
    assert lefts[0] == lefts[1] < lefts[2] == lefts[3]  # in their order


def test_an_image_without_instances():
    image = np.zeros((30, 40, 3), dtype=np.uint8)
    picture = draw_sample(image, np.zeros((0, 30, 40), dtype=bool), np.zeros((0, 3)), [], "")
    assert picture.shape[0] > 30
    assert not picture[:30, :40].any()
