"""`python -m streamgauge` is the command line."""

from streamgauge.cli import main

main()
