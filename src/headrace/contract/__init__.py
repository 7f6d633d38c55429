"""What MLflow fixes. Pure code: nothing here does I/O."""
