"""How fast an artifact's file is on this machine, beside every other runtime that can execute VOLO."""
