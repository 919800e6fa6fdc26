"""Repositories, named for what they hold; each verb takes the transaction it is part of."""
