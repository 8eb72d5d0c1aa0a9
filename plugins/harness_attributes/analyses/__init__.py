"""The analyses of the facial-attribute study make its tables and figures, of any suite's records.

They read a results folder only, and import neither torch nor a model (Rozsa et al., Facial Attributes:
Accuracy and Adversarial Robustness).
"""
