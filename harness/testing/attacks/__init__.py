"""The contract of attacks runs an attack on problems whose nearest adversarials are known."""
