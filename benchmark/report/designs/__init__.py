"""The chapters of matrices of a special design: drawn architectures, crossed seeds."""
