"""Analyses of the facial-attribute study: its tables and figures, made from the records of any suite.

They read a results folder only, and import neither torch nor a model (Rozsa et al., Facial Attributes:
Accuracy and Adversarial Robustness).
"""
