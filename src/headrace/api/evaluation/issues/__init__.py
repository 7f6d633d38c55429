"""Issues: problems that were found in the traces of an experiment."""
