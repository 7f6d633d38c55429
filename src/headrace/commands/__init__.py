"""The commands of `headrace`: options, output and exit codes."""
