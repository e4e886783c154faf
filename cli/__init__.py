"""The commands: options, one call of a workflow, and what is said to the user."""
