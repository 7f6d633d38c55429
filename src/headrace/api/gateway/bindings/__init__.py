"""Bindings: the resources, such as scorers, that use an endpoint of the AI gateway."""
