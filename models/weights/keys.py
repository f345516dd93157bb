"""Parameter names of other projects, as patterns and what they become in ours; the first match counts.

Sources: MMAction2 (and MMAction 0.x, mmcls) wrap a convolution and its BatchNorm as ``conv`` and ``bn``, and TSM's
shifted convolutions once more as ``net``; the TSM authors' code calls the backbone ``base_model`` and the classifier
``new_fc``. torchvision's names are ours without ``backbone.``.
"""

Keys = tuple[tuple[str, str], ...]

RESNET_2D_KEYS: Keys = (
    (r"backbone\.conv1\.conv\.(?:net\.)?(\w+)", r"backbone.conv1.\1"),
    (r"backbone\.conv1\.bn\.(\w+)", r"backbone.bn1.\1"),
    (r"backbone\.(layer\d\.\d+)\.conv(\d)\.conv\.(?:net\.)?(\w+)", r"backbone.\1.conv\2.\3"),
    (r"backbone\.(layer\d\.\d+)\.conv(\d)\.bn\.(\w+)", r"backbone.\1.bn\2.\3"),
    (r"backbone\.(layer\d\.\d+)\.downsample\.conv\.(\w+)", r"backbone.\1.downsample.0.\2"),
    (r"backbone\.(layer\d\.\d+)\.downsample\.bn\.(\w+)", r"backbone.\1.downsample.1.\2"),
    (r"cls_head\.(?:fc_cls|new_fc)\.(\w+)", r"head.fc.\1"),
    # The TSM authors' checkpoints.
    (r"base_model\.(layer\d\.\d+)\.conv(\d)\.net\.(\w+)", r"backbone.\1.conv\2.\3"),
    (r"base_model\.(.+)", r"backbone.\1"),
    (r"new_fc\.(\w+)", r"head.fc.\1"),
)
