"""Colour jitter: the drawn numbers, and agreement with DALI."""

import numpy as np
import pytest

from vidflow.config.pipeline import ColorJitter
from vidflow.pipelines.color import apply_color, color_matrix, draw_color

EVERYTHING = ColorJitter(brightness=0.4, contrast=0.3, saturation=1.5, hue=30)
COLORS = [
    (1, 1, 1, 0, 128),
    (1.3, 1, 1, 0, 128),
    (0.5, 1, 1, 0, 128),
    (1, 1.4, 1, 0, 128),
    (1, 0, 1, 0, 128),
    (1.2, 0.7, 1, 0, 128),
    (1.2, 0.7, 1, 0, 128 / 1.2),
    (0.001, 1.7, 1, 0, 128000),
    (1, 1, 0.3, 0, 128),
    (1, 1, 1, 30, 128),
    (1, 1, 1, -170, 128),
    (0.8, 1.3, 1.5, 20, 160),
]


def draws(jitter: ColorJitter, count: int) -> list[np.ndarray | None]:
    rng = np.random.default_rng(0)
    return [draw_color(jitter, rng) for _ in range(count)]


def test_factors_and_hue_fill_their_ranges():
    colors = np.stack(draws(EVERYTHING, 3000))
    assert colors.dtype == np.float32
    assert colors.shape == (3000, 5)
    assert (colors[:, 4] == 128).all()
    colors = colors[:, :4]
    low, high = [0.6, 0.7, 0.0, -30], [1.4, 1.3, 2.5, 30]
    span = np.subtract(high, low)
    assert (colors.min(axis=0) >= np.subtract(low, 1e-6)).all()
    assert (colors.max(axis=0) <= np.add(high, 1e-6)).all()
    assert (colors.min(axis=0) < low + 0.01 * span).all()
    assert (colors.max(axis=0) > high - 0.01 * span).all()
    np.testing.assert_allclose(colors.mean(axis=0), np.add(low, high) / 2, atol=0.03 * span.max())


def test_what_is_not_asked_for_stays_neutral():
    for color in draws(ColorJitter(brightness=0.5), 20):
        assert color[1:].tolist() == [1, 1, 0, 128]


def test_the_probability_decides_how_many_samples_change():
    neutral = [1, 1, 1, 0, 128]
    changed = sum(color.tolist() != neutral for color in draws(ColorJitter(hue=10, probability=0.3), 2000))
    assert abs(changed - 600) < 5 * np.sqrt(2000 * 0.3 * 0.7)
    # Numbers that change nothing, so that all samples of a batch run through one graph.
    assert all(color.tolist() == neutral for color in draws(ColorJitter(hue=10, probability=0), 20))


def test_grayscale_takes_the_colour_from_its_part_of_the_samples():
    rng = np.random.default_rng(0)
    colors = np.stack([draw_color(None, rng, grayscale=0.2) for _ in range(2000)])
    assert set(colors[:, 2].tolist()) == {0, 1}
    assert abs((colors[:, 2] == 0).sum() - 400) < 5 * np.sqrt(2000 * 0.2 * 0.8)


@pytest.mark.parametrize("factors", [(0.5, 1.4), (1.3, 0.2), (0.0, 1.4)])
def test_brightness_before_contrast_is_the_same_as_both_in_turn(factors):
    brightness, contrast = factors
    jitter = ColorJitter(brightness=1, contrast=1, order="random")

    class Chosen:
        """A generator whose factors are chosen, and whose coin says that brightness comes first."""

        def random(self):
            return 0.0

        def uniform(self, low, high):
            return np.array([brightness, contrast, 1.0]) if np.ndim(low) else 0.0

    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.float32)
    expected = (image * brightness - 128) * contrast + 128
    np.testing.assert_allclose(apply_color(image, draw_color(jitter, Chosen())), expected, atol=0.4)


def test_a_random_order_has_both_orders():
    centres = {round(float(c[4] * c[0]), 2) for c in draws(ColorJitter(brightness=0.4, order="random"), 50)}
    firsts = [c[4] != 128 for c in draws(ColorJitter(brightness=0.4, order="random"), 400)]
    assert 128.0 in centres
    assert 140 < sum(firsts) < 260


def test_no_jitter_draws_nothing():
    rng = np.random.default_rng(1)
    assert draw_color(None, rng) is None
    assert rng.random() == np.random.default_rng(1).random()


def test_the_probability_does_not_shift_later_draws():
    rngs = [np.random.default_rng(4), np.random.default_rng(4)]
    draw_color(EVERYTHING, rngs[0])
    draw_color(EVERYTHING.model_copy(update={"probability": 0.0}), rngs[1])
    assert rngs[0].random() == rngs[1].random()


def test_neutral_numbers_change_nothing():
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(apply_color(image, np.array([1, 1, 1, 0, 128])), image, atol=1e-3)


def test_contrast_zero_is_flat_grey_and_saturation_zero_has_no_colour():
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(apply_color(image, np.array([1, 0, 1, 0, 128])), 128, atol=1e-3)
    grey = apply_color(image, np.array([1, 1, 0, 0, 128]))
    # The matrix has three digits, so grey is grey to less than a level.
    np.testing.assert_allclose(grey, np.repeat((image @ [0.299, 0.587, 0.114])[..., None], 3, axis=-1), atol=1)


def test_a_whole_turn_of_the_hue_is_none():
    np.testing.assert_allclose(color_matrix(np.array([1, 1, 1, 360.0, 128]))[0], np.eye(3), atol=1e-9)


def test_colours_equal_those_of_dali():
    pytest.importorskip("nvidia.dali", reason="DALI is not installed")
    from nvidia.dali import fn, pipeline_def, types

    image = np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8)

    @pipeline_def(batch_size=len(COLORS), num_threads=1, device_id=None)
    def twist():
        images = fn.external_source(lambda: [image] * len(COLORS))
        # [5, B]; iterators, because DALI would count up an argument of a callable.
        columns = [fn.external_source([list(column)], cycle=True) for column in np.float32(COLORS).T]
        brightness, contrast, saturation, hue, centre = columns
        turned = fn.hsv(images, hue=hue, saturation=saturation, dtype=types.FLOAT)
        arguments = {"brightness": brightness, "contrast": contrast, "contrast_center": centre}
        return (
            fn.brightness_contrast(turned, **arguments, dtype=types.FLOAT),
            fn.brightness_contrast(turned, **arguments, dtype=types.UINT8),
        )

    pipe = twist()
    pipe.build()
    floats, integers = (output.as_array() for output in pipe.run())
    for color, as_float, as_uint8 in zip(COLORS, floats, integers, strict=True):
        ours = apply_color(image, np.array(color))
        np.testing.assert_allclose(as_float, ours, atol=0.02)
        np.testing.assert_allclose(as_uint8, np.clip(ours, 0, 255), atol=0.52)
