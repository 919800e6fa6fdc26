"""Delivering events: signed, retried for a day, logged, and never to a forbidden address."""
