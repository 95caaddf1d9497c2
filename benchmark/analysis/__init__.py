"""Results become tables, and what the tables may claim. No torch."""
