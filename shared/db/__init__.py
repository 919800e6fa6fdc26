"""The database: tables, transactions, and repositories with verbs; the only room that knows SQL."""
