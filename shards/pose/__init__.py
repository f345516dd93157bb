"""From videos to skeletons: an estimator finds people in each frame, and each person is followed through the video."""
