"""The words of the field as types: money, inference, decisions, and the two state machines."""
