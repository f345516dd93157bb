"""What models and pipelines both know of skeletons: how the keypoints of each layout hang together."""
