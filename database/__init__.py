"""PostgreSQL: the tables, the engine, and every SQL statement of the system."""
