"""One file a page; each asks its desk and shows what it is told."""
