"""Training PlanPers' planner."""
