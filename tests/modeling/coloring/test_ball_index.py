import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semiconv_d2.modeling.coloring.ball_index import BallIndex


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 300),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([0.0, 0.3, 1.0, 30.0, 1e20]),
    st.sampled_from([1.0, 1e17]),
)
def test_balls_against_brute_force(seed, total, channels, spread, outlier):
    generator = torch.Generator().manual_seed(seed)
    embedding = spread * torch.randn(total, channels, generator=generator)
    embedding[0] *= outlier
    index = BallIndex(embedding, 0.7)
    for centre in (embedding[0], embedding[-1] + 0.3, embedding.mean(dim=0)):
        ball = index.ball(centre)
        distance = torch.linalg.vector_norm(embedding - centre, dim=1)
        expected = (distance <= 0.7).nonzero()[:, 0]
        assert sorted(ball.pixels.tolist()) == expected.tolist()
        torch.testing.assert_close(ball.distance, distance[ball.pixels])
        torch.testing.assert_close(ball.difference, embedding[ball.pixels] - centre)
