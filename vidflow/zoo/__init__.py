"""The published models: what their authors measured, and which of vidflow's configs trains them."""
