"""Trains the planner of PlanPers."""
