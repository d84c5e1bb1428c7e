"""Networks: where they come from, how they are prepared, and what their units can see."""
