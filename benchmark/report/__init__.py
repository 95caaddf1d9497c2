"""The pages: the report of a result set, the comparison of variants, and the experiments."""
