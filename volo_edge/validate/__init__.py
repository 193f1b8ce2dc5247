"""Proof: what a saved file computes, held against the float model on real photographs."""
