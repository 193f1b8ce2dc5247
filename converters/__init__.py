"""Edge VOLO to the file a phone loads: one package a target."""
