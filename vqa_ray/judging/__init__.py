"""Evaluation of a run: its predictions joined with truth, judged by a protocol, measured with intervals. No Ray."""
