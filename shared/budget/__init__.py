"""The budget ledger: one atomic Lua call decides over all of an attempt's limits at once."""
