"""From plan to running actors: tasks, exchanges, barriers, and the life of a workflow."""
