"""Non-local blocks against their definition, place by place."""

import pytest
import torch

from vidflow.models.layers.non_local import FrameNonLocal, NonLocal

MODES = ("gaussian", "embedded_gaussian", "dot_product")


def drawn(**options):
    """A block of 8 channels whose branch is not zero."""
    torch.manual_seed(0)
    block = NonLocal(8, **options).double().eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return block


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_each_place_gets_the_weighted_sum_of_all(mode, scale):
    block = drawn(mode=mode, scale=scale, subsample=False)
    x = torch.randn(2, 8, 2, 2, 3, dtype=torch.float64)
    places = x.flatten(2)  # [N, C, places]

    def linear(conv, values):
        return torch.einsum("oc,ncp->nop", conv.weight[:, :, 0, 0, 0], values) + conv.bias[:, None]

    theta = places if mode == "gaussian" else linear(block.theta, places)
    phi = places if mode == "gaussian" else linear(block.phi, places)
    products = torch.einsum("nci,ncj->nij", theta, phi)
    if mode == "dot_product":
        weights = products / 12
    else:
        weights = (products / (2.0 if scale and mode == "embedded_gaussian" else 1.0)).softmax(dim=2)  # root of 4
    y = torch.einsum("nij,ncj->nci", weights, linear(block.g, places)).unflatten(2, x.shape[2:])
    torch.testing.assert_close(block(x), x + block.norm(block.out(y)))


@pytest.mark.parametrize("mode", MODES)
def test_subsampling_looks_at_the_largest_of_2x2_cells(mode):
    block, x = drawn(mode=mode), torch.randn(1, 8, 2, 4, 4, dtype=torch.float64)
    if mode == "gaussian":
        assert (block.theta, block.phi) == (None, None)
    shapes = []
    block.pool.register_forward_hook(lambda module, inputs, output: shapes.append(list(output.shape[2:])))
    assert block(x).shape == x.shape
    assert shapes == [[2, 2, 2], [2, 2, 2]]


@pytest.mark.parametrize("mode", MODES)
def test_a_new_block_is_the_identity(mode):
    x = torch.randn(1, 8, 2, 4, 4)
    torch.testing.assert_close(NonLocal(8, mode=mode).train()(x), x, rtol=0, atol=0)


def test_frames_in_a_row_are_seen_as_their_clips():
    block = drawn(mode="embedded_gaussian")
    frames = FrameNonLocal(8, mode="embedded_gaussian").double().eval()
    frames.load_state_dict(block.state_dict())
    clips = torch.randn(2, 8, 3, 4, 4, dtype=torch.float64)
    expected = block(clips).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(frames(clips.transpose(1, 2).flatten(0, 1), 3), expected)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"mode \('concatenation'\) must be 'gaussian'"):
        NonLocal(8, mode="concatenation")
