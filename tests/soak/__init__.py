"""Long tests, run by `make soak` alone: seeded kills of real processes, and tens of thousands of schedules."""
