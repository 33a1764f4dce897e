"""Keeps workflows running by their schedules: each planned run begun exactly once, a history, many in one process."""
