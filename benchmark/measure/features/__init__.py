"""What images are compared by: extractors, their features, and the reference made of real ones."""
