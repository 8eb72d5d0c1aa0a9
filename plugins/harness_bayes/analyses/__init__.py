"""The analyses of the Bayes-optimal study make its tables and figures, of records alone."""
