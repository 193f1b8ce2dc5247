"""The float reference: the float model's logits for a folder of photographs, computed wherever there is a GPU."""
