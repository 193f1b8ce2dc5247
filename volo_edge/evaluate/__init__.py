"""Evaluation: what artifacts' saved files lose against the float model, where, and whether the loss is real."""
