"""Requests about MLflow's assistant and model gateway that the web page sends on every load."""
