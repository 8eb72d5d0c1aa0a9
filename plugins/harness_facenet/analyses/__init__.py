"""Analyses of FaceNet: tables and figures of the paper, and its claims, held against records."""
