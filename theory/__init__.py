"""The theory of representational alignment: formulas, and the simulations that test them."""
