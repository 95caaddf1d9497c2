"""The files of a result set, and who may write them. No torch."""
