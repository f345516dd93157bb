"""Predictions for files outside any packed data set."""

from vidflow.inference.predict import ClassScore, FilePrediction, Predictor
from vidflow.inference.trained import TrainedModel, model_of_config, model_of_run

__all__ = ["ClassScore", "FilePrediction", "Predictor", "TrainedModel", "model_of_config", "model_of_run"]
