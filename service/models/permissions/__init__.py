"""Tuned models that one project may use though another one made them."""
