"""What quantizing costs, layer by layer, on real photographs. Importing it imports no torch."""
