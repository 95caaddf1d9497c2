"""What happens in the process that runs a cell."""
