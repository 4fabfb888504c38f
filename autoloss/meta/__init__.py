"""What is learned from runs: schedules distilled from one, and a rule learned over many."""
