"""The parts of `bench/prompt_search.py`: which tasks and methods, what one cell is, how cells are summed up."""
