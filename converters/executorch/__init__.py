"""Edge VOLO to an ExecuTorch program (.pte)."""
