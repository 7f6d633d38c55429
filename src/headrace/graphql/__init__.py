"""The GraphQL operations that the web page uses. Other operations are forwarded to stock MLflow."""
