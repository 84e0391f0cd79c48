"""A load generator: what a deployment answers, and how fast, under a load of your choice."""
