"""Predictions for files outside any packed data set."""

from vidflow.inference.predict import ClassScore, FilePrediction, Predictor

__all__ = ["ClassScore", "FilePrediction", "Predictor"]
