"""The pipeline table of skeletons: what it admits, and what it says to the rest."""

import pytest

from vidflow.config.loading import load_config, to_toml
from vidflow.config.skeleton import BodyNormalize, SkeletonPipeline
from vidflow.errors import ConfigError

HEAD = """
[model]
name = "stgcnpp-tiny"
num_classes = 3
[optim]
name = "SGD"
lr = 0.1
[train]
epochs = 1
batch_size = 2
[data]
root = "data/x"
"""
GRAPHS = """kind = "skeleton"
sampling = { kind = "bins", length = 8 }
"""
MAPS = GRAPHS + "heatmap = {}\n"
NO_SIDES = "layout = { num_keypoints = 3, edges = [[0, 1], [1, 2]] }\n"


def config_of(tmp_path, train: str, val: str = GRAPHS):
    path = tmp_path / "own.toml"
    path.write_text(f"{HEAD}[data.train]\n{train}\n[data.val]\n{val}")
    return load_config(str(path))


def test_a_config_comes_back_from_its_own_toml(tmp_path):
    config = config_of(tmp_path, GRAPHS + 'normalize = { kind = "body", center = 3 }\nfeatures = ["bone"]\n', MAPS)
    (tmp_path / "whole.toml").write_text(to_toml(config))
    assert load_config(str(tmp_path / "whole.toml")).data == config.data
    assert config.data.train.normalize == BodyNormalize(center=3)


def test_a_table_without_a_kind_is_a_clip_pipeline(tmp_path):
    config = config_of(tmp_path, 'short_side = "none"\n')
    assert config.data.train.kind == "clip"
    assert config.data.train.short_side is None


def test_a_table_of_another_kind_replaces_an_inherited_one(tmp_path):
    (tmp_path / "base.toml").write_text(HEAD + "[data.train]\nsize = 8\n[data.val]\n" + GRAPHS)
    (tmp_path / "own.toml").write_text('base = "base.toml"\n[data.train]\n' + GRAPHS)
    assert isinstance(load_config(str(tmp_path / "own.toml")).data.train, SkeletonPipeline)


@pytest.mark.parametrize("sides", ["left = [0], right = [2]", "left = [], right = []"])
def test_a_layout_that_tells_its_sides_may_be_mirrored(tmp_path, sides):
    layout = NO_SIDES.replace(" }", f", {sides} }}")
    config = config_of(tmp_path, GRAPHS + "flip = 0.5\n" + layout)
    (tmp_path / "whole.toml").write_text(to_toml(config))
    assert load_config(str(tmp_path / "whole.toml")).data == config.data


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ('kind = "skeletons"', r"\[data\.train\] kind = 'skeletons'.*Did you mean 'skeleton'\?"),
        ('kind = "skeleton"', r"\[data\.train\] needs sampling"),
        (GRAPHS + "peple = 2", r"\[data\.train\] has no key 'peple'"),
        (GRAPHS + "num_people = 0", "num_people = 0: must be greater than 0"),
        (GRAPHS + 'features = ["joints"]', "must be 'joint', 'bone', 'joint_motion' or 'bone_motion'"),
        (GRAPHS + "features = []", "one or more features, each once"),
        (GRAPHS + 'features = ["bone", "bone"]', "one or more features, each once"),
        (GRAPHS + "rotate = [10, 20]", r"one angle or three, in \[0, 180\] degrees, not \[10\.0, 20\.0\]"),
        (GRAPHS + "rotate = [181]", "one angle or three"),
        (GRAPHS + 'rotate = [1, 1, 1]\nnormalize = { kind = "screen" }', "with two coordinates there is one angle"),
        (GRAPHS + 'layout = "cocoa"', "no skeleton layout 'cocoa'; did you mean 'coco'"),
        (GRAPHS + "layout = { num_keypoints = 3, edges = [[0, 3]] }", "keypoint 3 does not exist"),
        (
            GRAPHS + "layout = { num_keypoints = 2, edges = [[0, 1]], left = 0, right = 1 }",
            "left must be a list of keypoints, not 0",
        ),
        (
            GRAPHS + "flip = 0.5\n" + NO_SIDES,
            "flip: layout does not say which keypoints change places; give its left and",
        ),
        (GRAPHS + "heatmap = { twice = true }\n" + NO_SIDES, r"heatmap\.twice: layout does not say which keypoints"),
        (
            GRAPHS + 'normalize = { kind = "body", center = -1 }',
            r"\[data\.train\.normalize\] center = -1: must be greater than or equal to 0",
        ),
        (
            GRAPHS + 'normalize = { kind = "body", spine = [0, -1] }',
            r"\[data\.train\.normalize\.spine\] 1 = -1: must be greater than or equal to 0",
        ),
        (
            GRAPHS + 'normalize = { kind = "body", shoulders = [-1, 0] }',
            r"\[data\.train\.normalize\.shoulders\] 0 = -1: must be greater than",
        ),
        (GRAPHS + 'normalize = { kind = "screen", size = [0, 1920] }', "must be greater than 0"),
        (GRAPHS + "shear = inf", "shear = inf"),
        (MAPS + "compact = { ratio = 0 }", r"ratio = 0: must be positive, .* not 0\.0"),
        (MAPS + "compact = { ratio = -1 }", "must be positive"),
        (MAPS + "compact = { ratio = inf }", "must be positive"),
        (MAPS + "compact = { ratio = nan }", "must be positive"),
        (MAPS + "compact = { ratio = [2, 1] }", r"of two numbers the smaller one first, not \(2\.0, 1\.0\)"),
        (MAPS + "compact = { ratio = [0, 1] }", "must be positive"),
        (MAPS + "compact = { padding = inf }", "padding = inf"),
        (GRAPHS + "size = 56", "size needs heatmap"),
        (GRAPHS + "compact = {}", "compact needs heatmap"),
        (GRAPHS + "mixing = { cutmix = 1.0 }", "cutmix is for pictures"),
        (MAPS + 'normalize = { kind = "screen" }', "normalize is not for heatmaps"),
        (MAPS + 'features = ["bone"]\nscale = 0.1', "features, scale is not for heatmaps"),
        (MAPS + 'crop = { kind = "ten" }', r"\[data\.train\.crop\] kind = 'ten': must be one of"),
        (MAPS + "size = [56, 0]", "size must be positive"),
        (
            'kind = "skeleton"\nsampling = { kind = "clips", length = 8, target_fps = 15 }',
            "target_fps is not for skeletons",
        ),
        ('kind = "skeleton"\nsampling = { kind = "untrimmed" }', r"sampling\] kind = 'untrimmed': must be one of"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(tmp_path, train, message):
    with pytest.raises(ConfigError, match=message):
        config_of(tmp_path, train)
