"""Evaluation datasets: the search for them; stock MLflow serves the rest."""
