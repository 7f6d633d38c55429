"""Endpoints of the AI gateway: names under which applications call one or several models."""
