"""`python -m qtasks_core`: the command line, also where its script is not on the PATH."""

from qtasks_core.cli import main

if __name__ == "__main__":  # a spawned pool process imports this module again, under another name
    main()
