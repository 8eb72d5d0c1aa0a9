"""The contract of models checks the outputs, gradients and weights that the harness relies on."""
