"""`python -m passby.node.cli`, which is how a detached daemon is started."""

from passby.node.cli import main

main()
