"""`python -m headrace`: the same as the command `headrace`."""

from headrace.commands.cli import main

main()
