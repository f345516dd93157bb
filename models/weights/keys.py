"""Parameter names of other projects, as patterns and what they become in ours; the first match counts.

Sources: MMAction2 (and MMAction 0.x, mmcls) wrap a convolution and its BatchNorm as ``conv`` and ``bn``, and TSM's
shifted convolutions once more as ``net``; the TSM authors' code calls the backbone ``base_model`` and the classifier
``new_fc``. torchvision's names are ours without ``backbone.``.
"""

Keys = tuple[tuple[str, str], ...]


def pathway_keys(pathway: str) -> Keys:
    """Keys of the ResNets in a network of two pathways.

    Args:
        pathway: pattern of what stands before the network's layers, with one group: our name of the pathway.
    """
    return (
        (pathway + r"conv1\.conv\.(\w+)", r"backbone.\1.conv1.\2"),
        (pathway + r"conv1\.bn\.(\w+)", r"backbone.\1.bn1.\2"),
        (pathway + r"(layer\d\.\d+)\.conv(\d)\.conv\.(\w+)", r"backbone.\1.\2.conv\3.\4"),
        (pathway + r"(layer\d\.\d+)\.conv(\d)\.bn\.(\w+)", r"backbone.\1.\2.bn\3.\4"),
        (pathway + r"(layer\d\.\d+)\.downsample\.conv\.(\w+)", r"backbone.\1.\2.downsample.0.\3"),
        (pathway + r"(layer\d\.\d+)\.downsample\.bn\.(\w+)", r"backbone.\1.\2.downsample.1.\3"),
    )


MMACTION_CLASSIFIER_KEYS: Keys = ((r"cls_head\.(?:fc_cls|new_fc)\.(\w+)", r"head.fc.\1"),)

RESNET_2D_KEYS: Keys = (
    (r"backbone\.conv1\.conv\.(?:net\.)?(\w+)", r"backbone.conv1.\1"),
    (r"backbone\.conv1\.bn\.(\w+)", r"backbone.bn1.\1"),
    # A block is once more wrapped as ``block`` where another module follows it, and a first convolution behind TIN's
    # interlacing as ``net2``.
    (r"backbone\.(layer\d\.\d+)\.(?:block\.)?conv(\d)\.conv\.(?:net2?\.)?(\w+)", r"backbone.\1.conv\2.\3"),
    (r"backbone\.(layer\d\.\d+)\.(?:block\.)?conv(\d)\.bn\.(\w+)", r"backbone.\1.bn\2.\3"),
    (r"backbone\.(layer\d\.\d+)\.(?:block\.)?downsample\.conv\.(\w+)", r"backbone.\1.downsample.0.\2"),
    (r"backbone\.(layer\d\.\d+)\.(?:block\.)?downsample\.bn\.(\w+)", r"backbone.\1.downsample.1.\2"),
    *MMACTION_CLASSIFIER_KEYS,
    # The TSM authors' checkpoints.
    (r"base_model\.(layer\d\.\d+)\.conv(\d)\.net\.(\w+)", r"backbone.\1.conv\2.\3"),
    (r"base_model\.(.+)", r"backbone.\1"),
    (r"new_fc\.(\w+)", r"head.fc.\1"),
)

# MMAction2's VideoMAE and UMT; the VideoMAE and UMT authors' names are ours without ``backbone.``, but for the head.
VIDEO_VIT_KEYS: Keys = (
    (r"backbone\.patch_embed\.projection\.(\w+)", r"backbone.patch_embed.proj.\1"),
    (r"backbone\.(blocks\.\d+\.mlp)\.layers\.0\.0\.(\w+)", r"backbone.\1.fc1.\2"),
    (r"backbone\.(blocks\.\d+\.mlp)\.layers\.1\.(\w+)", r"backbone.\1.fc2.\2"),
    (r"(?:cls_head\.fc_cls|head)\.(\w+)", r"head.fc.\1"),
)

# MMAction2's UniFormerV2 has the names of CLIP's image encoder below ``backbone.``, and so have ours.
UNIFORMER_V2_KEYS: Keys = (
    (r"cls_head\.fc_cls\.(\w+)", r"head.fc.\1"),
    (r"visual\.(.+)", r"backbone.\1"),
)

# Non-local blocks after a block of a ResNet; pooling stands behind some of their convolutions in a list.
NON_LOCAL_KEYS: Keys = (
    (r"backbone\.(layer\d\.\d+)\.non_local_block\.(g|theta|phi)\.(?:0\.)?conv\.(\w+)", r"backbone.\1.after.\2.\3"),
    (r"backbone\.(layer\d\.\d+)\.non_local_block\.conv_out\.conv\.(\w+)", r"backbone.\1.after.out.\2"),
    (r"backbone\.(layer\d\.\d+)\.non_local_block\.conv_out\.bn\.(\w+)", r"backbone.\1.after.norm.\2"),
)

# MMAction2's ResNet of sound: a convolution along time and one along frequency, each with its BatchNorm.
RESNET_AUDIO_KEYS: Keys = tuple(
    (rf"backbone\.({place})\.conv\.conv_{number}\.{theirs}\.(\w+)", rf"backbone.\1.{axis}{ours}.\2")
    for place in ("conv1", r"layer\d\.\d+\.conv2")
    for number, axis in ((1, "time"), (2, "frequency"))
    for theirs, ours in (("conv", ""), ("bn", "_bn"))
)

RESNET_3D_KEYS: Keys = (
    # R(2+1)D: a convolution in space and one in time.
    (r"backbone\.conv1\.conv\.conv_s\.(\w+)", r"backbone.conv1.spatial.\1"),
    (r"backbone\.conv1\.conv\.bn_s\.(\w+)", r"backbone.conv1.norm.\1"),
    (r"backbone\.conv1\.conv\.conv_t\.(\w+)", r"backbone.conv1.temporal.\1"),
    (r"backbone\.(layer\d\.\d+)\.conv(\d)\.conv\.conv_s\.(\w+)", r"backbone.\1.conv\2.spatial.\3"),
    (r"backbone\.(layer\d\.\d+)\.conv(\d)\.conv\.bn_s\.(\w+)", r"backbone.\1.conv\2.norm.\3"),
    (r"backbone\.(layer\d\.\d+)\.conv(\d)\.conv\.conv_t\.(\w+)", r"backbone.\1.conv\2.temporal.\3"),
    (r"backbone\.(layer\d\.\d+)\.downsample\.conv\.conv_s\.(\w+)", r"backbone.\1.downsample.0.spatial.\2"),
    (r"backbone\.(layer\d\.\d+)\.downsample\.conv\.bn_s\.(\w+)", r"backbone.\1.downsample.0.norm.\2"),
    (r"backbone\.(layer\d\.\d+)\.downsample\.conv\.conv_t\.(\w+)", r"backbone.\1.downsample.0.temporal.\2"),
    *NON_LOCAL_KEYS,
    *RESNET_2D_KEYS,
)

# MMAction2's and mmpretrain's MobileNetV2 and MobileOne, and the dotted names of torchvision's older DenseNet files.
LIGHT_2D_KEYS: Keys = (
    (r"backbone\.conv2\.conv\.(\w+)", r"backbone.conv2.\1"),
    (r"backbone\.conv2\.bn\.(\w+)", r"backbone.bn2.\1"),
    (r"backbone\.(layer\d\.\d+\.conv\.\d)\.(?:net\.)?conv\.(\w+)", r"backbone.\1.0.\2"),
    (r"backbone\.(layer\d\.\d+\.conv\.\d)\.(?:net\.)?bn\.(\w+)", r"backbone.\1.1.\2"),
    (r"backbone\.(stage\d(?:\.\d+)?)\.(?:net\.)?branch_reparam\.(\w+)", r"backbone.\1.fused.\2"),
    (r"backbone\.(stage\d(?:\.\d+)?)\.(?:net\.)?branch_norm\.(\w+)", r"backbone.\1.skip.\2"),
    (r"backbone\.(stage\d(?:\.\d+)?)\.(?:net\.)?branch_scale\.conv\.(\w+)", r"backbone.\1.scale.0.\2"),
    (r"backbone\.(stage\d(?:\.\d+)?)\.(?:net\.)?branch_scale\.norm\.(\w+)", r"backbone.\1.scale.1.\2"),
    (r"backbone\.(stage\d(?:\.\d+)?)\.(?:net\.)?branch_conv_list\.(\d)\.conv\.(\w+)", r"backbone.\1.convs.\2.0.\3"),
    (r"backbone\.(stage\d(?:\.\d+)?)\.(?:net\.)?branch_conv_list\.(\d)\.norm\.(\w+)", r"backbone.\1.convs.\2.1.\3"),
    (r"backbone\.(stage\d(?:\.\d+)?)\.(?:net\.)?se\.conv1\.conv\.(\w+)", r"backbone.\1.gate.squeeze.\2"),
    (r"backbone\.(stage\d(?:\.\d+)?)\.(?:net\.)?se\.conv2\.conv\.(\w+)", r"backbone.\1.gate.excite.\2"),
    (r"(?:backbone\.)?(features\.denseblock\d\.denselayer\d+\.(?:norm|conv))\.(\d\.\w+)", r"backbone.\1\2"),
)

TIN_KEYS: Keys = (
    (r"backbone\.(layer\d\.\d+)\.conv1\.conv\.net1\.offset_net\.conv\.(\w+)", r"backbone.\1.before.distance_conv.\2"),
    (r"backbone\.(layer\d\.\d+)\.conv1\.conv\.net1\.offset_net\.(fc\d)\.(\w+)", r"backbone.\1.before.distance_\2.\3"),
    (r"backbone\.(layer\d\.\d+)\.conv1\.conv\.net1\.weight_net\.conv\.(\w+)", r"backbone.\1.before.weight_conv.\2"),
)

TANET_KEYS: Keys = (
    (r"backbone\.(layer\d\.\d+)\.tam\.G\.(\d\.\w+)", r"backbone.\1.inside.kernel.\2"),
    (r"backbone\.(layer\d\.\d+)\.tam\.L\.(\d\.\w+)", r"backbone.\1.inside.gate.\2"),
)

TRN_KEYS: Keys = ((r"cls_head\.consensus\.fc_fusion_scales\.(\d+\.\d\.\w+)", r"head.relations.\1"),)

# CLIP's authors (and open_clip) name the encoders at the top, MMAction2's ActionCLIP below ``clip.``, as we do.
ACTIONCLIP_KEYS: Keys = ((r"(?!clip\.|adapter\.)(.+)", r"clip.\1"),)
