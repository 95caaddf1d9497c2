"""How a cell is trained. All of this folder is in the hash of the training code."""
