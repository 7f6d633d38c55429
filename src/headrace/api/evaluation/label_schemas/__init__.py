"""Label schemas: the questions that reviewers of traces answer."""
