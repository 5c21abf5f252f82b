"""One policy for each kind of step."""
