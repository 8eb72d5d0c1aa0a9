"""Shards are some cases of a cell each; running one gives their records."""
