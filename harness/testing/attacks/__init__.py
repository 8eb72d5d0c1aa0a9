"""The contract of attacks: an attack, run on problems whose answers are known."""
