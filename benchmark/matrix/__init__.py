"""What is asked: a TOML file becomes a list of cells. Runs nothing."""
