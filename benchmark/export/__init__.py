"""Results for other tools: samples as files (`samples`), runs for experiment trackers (`news`)."""
