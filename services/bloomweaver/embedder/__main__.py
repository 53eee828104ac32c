"""`python -m bloomweaver.embedder`."""

from bloomweaver.embedder import main

main.main()
