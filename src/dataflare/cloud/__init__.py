"""Actors on a cluster: the only room that speaks Ray."""
