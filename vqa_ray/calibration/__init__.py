"""Calibration files and the labelled samples they are fitted to."""
