"""The models that can be asked, their hosts and prices: data from `catalog.toml`, never code."""
