"""The comparison of tracked runs: reads what was written to MLflow, never live objects.

`runs` reads them, `axes` finds what was swept, `sheet` draws the contact sheet, `conclusions` says what holds, `charts`
and `page` make the HTML, `compare` lays two runs over each other, `command` is the command line.
"""
