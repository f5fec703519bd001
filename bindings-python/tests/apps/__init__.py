"""Applications as their authors write them: none knows of a relay."""
