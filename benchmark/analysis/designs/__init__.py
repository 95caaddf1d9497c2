"""What matrices of a special design say: drawn architectures, crossed seeds."""
