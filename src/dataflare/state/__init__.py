"""Durable state: stores, epochs, keyed state and the ledger."""
