"""What is asked: a matrix file becomes a list of cells. Nothing here runs a cell."""
