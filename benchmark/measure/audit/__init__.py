"""The audit: what every metric reads of real samples with planted faults. Start with `run`."""
