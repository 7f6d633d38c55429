"""The lists of providers and models that MLflow knows, and the settings that each provider needs."""
