"""The analyses of verification make tables and figures of comparisons and records alone."""
