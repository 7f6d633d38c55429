"""What the web page asks of MLflow's assistant and model gateway whenever it is opened."""
