"""`python -m apsis_nb` is the command `apsis-nb`."""

from apsis_nb.cli import main

if __name__ == "__main__":
    main()
