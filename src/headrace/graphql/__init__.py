"""The GraphQL operations that the web page asks for. Whatever else is asked goes to stock MLflow."""
