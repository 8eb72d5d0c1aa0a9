"""Analyses of the Bayes-optimal study: its tables and figures, made of records alone."""
