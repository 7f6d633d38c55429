"""What headrace does not answer itself: stock MLflow, started on demand, behind a stream."""
