"""Third step: from a snapshot to numbers, one file per modality. Start with `protocol`."""
