"""Model definitions: a provider, the name of one of its models, and the secret for it."""
