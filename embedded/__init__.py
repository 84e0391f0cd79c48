"""PostgreSQL and Temporal on one machine, from wheels, and the supervisor behind `orders dev`."""
