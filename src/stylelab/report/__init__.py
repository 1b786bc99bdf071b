"""The comparison of tracked runs: reads what was written to MLflow, never live objects.

`store` reads them as `runs`; `axes` finds what was swept, `grid` lays it out; `conclusions` compares, `verdicts` says
what holds; `sheet` draws the contact sheet, `charts`, `tables` and `page` make the HTML and the CSV, `write` all of it;
`compare` lays two runs over each other; `command` is the command line.
"""
