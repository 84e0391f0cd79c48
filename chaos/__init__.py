"""The proof that nothing is lost: a whole system under load and faults, and a checker of its own."""
