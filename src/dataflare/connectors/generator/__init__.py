"""Seeded rows at a rate, with faults as data."""
