"""Views in pieces: the same predictions in less memory."""

import pytest
import torch

from vidflow.batch import Batch
from vidflow.errors import ConfigError
from vidflow.models import build_model
from vidflow.models.views import in_pieces


def batch(num_samples: int, num_views: int) -> Batch:
    clips = torch.randn(num_samples, num_views, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    return Batch(
        ids=[str(i) for i in range(num_samples)],
        indices=torch.arange(num_samples),
        inputs={"clips": clips},
        targets={},
        padding=torch.zeros(num_samples, dtype=torch.bool),
    )


@pytest.mark.parametrize("average_views", ["prob", "score"])
@pytest.mark.parametrize("max_views", [1, 4, 7, 30, 100])
@pytest.mark.parametrize("name", ["tsn-tiny", "tsm-tiny"])
def test_predictions_in_pieces_are_those_of_all_views_at_once(name, max_views, average_views):
    whole = build_model(name, num_classes=5, average_views=average_views).eval()
    pieces = build_model(name, num_classes=5, average_views=average_views, max_views=max_views).eval()
    pieces.load_state_dict(whole.state_dict())
    views = batch(2, 15)
    torch.testing.assert_close(pieces.predict(views).scores, whole.predict(views).scores, atol=1e-6, rtol=1e-5)


def test_no_call_has_more_views_than_allowed_and_all_are_seen_once_in_order():
    sizes = []

    def forward(clips):
        sizes.append(clips.shape[0] * clips.shape[1])
        return clips.mean(dim=(3, 4, 5))  # [b, v, C, T, H, W] -> [b, v, C]

    views = batch(3, 5).clips
    out = in_pieces(forward, views, 4)
    assert sizes == [4, 4, 4, 3]
    torch.testing.assert_close(out, views.mean(dim=(3, 4, 5)))


def test_no_bound_is_one_call():
    sizes = []
    in_pieces(lambda clips: sizes.append(len(clips)) or clips, batch(2, 3).clips, None)
    assert sizes == [2]


@pytest.mark.parametrize("max_views", [0, -2])
def test_a_bound_that_is_not_positive_is_refused(max_views):
    with pytest.raises(ValueError, match=rf"max_views \({max_views}\) must be positive"):
        in_pieces(lambda clips: clips, batch(1, 1).clips, max_views)
    with pytest.raises(ConfigError, match=rf"max_views \({max_views}\) must be positive"):
        build_model("tsn-tiny", num_classes=5, max_views=max_views)
