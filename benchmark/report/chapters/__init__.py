"""The chapters of a report, one file each; `report.chapters` has them in reading order."""
