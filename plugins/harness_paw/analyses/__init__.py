"""Analyses of the cascade: its tables, its weights, its heatmaps, its claims, and its crops under attack."""
