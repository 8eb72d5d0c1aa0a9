"""The contract of models: answers, gradients and weights that keep what the harness relies on."""
