"""The paper's experiment with dots (section 4.1, figure 3)."""
