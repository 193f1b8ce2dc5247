"""Files that mean harm, or are broken in ways that harm."""
