"""Analyses of the verification study read what training measured from the cards of the models."""
