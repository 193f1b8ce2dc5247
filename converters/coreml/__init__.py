"""Edge VOLO to a Core ML package (.mlpackage)."""
