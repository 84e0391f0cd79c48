"""Orchestration only: what is allowed, `orders` says; what touches the world is an activity."""
