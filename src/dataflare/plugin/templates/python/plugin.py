"""Adds the total of an order."""

import dataflare

# Columns that come out beside those that came in, with their types.
adds = {"total": "float64"}

rate = 1


def open(settings):
    """Is called once, with the settings of the workflow."""
    global rate
    rate = settings.get("rate", 1)


def process(order):
    """Is called with each row. None: it is left out; a list: it becomes several; what is raised: `on_error` decides."""
    if order["amount"] < 0:
        raise dataflare.BadRecord("the amount is below zero")
    if order["status"] == "cancelled":
        return None
    return {**order, "total": order["amount"] * rate}
